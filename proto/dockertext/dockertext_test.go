package dockertext_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/dockertext"
)

func TestDurationMatchesDocker(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour:             "Less than a second",
		999 * time.Millisecond: "Less than a second",
		time.Second:            "1 second",
		59 * time.Second:       "59 seconds",
		119 * time.Second:      "About a minute",
		2 * time.Minute:        "2 minutes",
		60 * time.Minute:       "About an hour",
		95 * time.Minute:       "2 hours",
		47 * time.Hour:         "47 hours",
		48 * time.Hour:         "2 days",
		13 * day:               "13 days",
		15 * day:               "2 weeks",
		100 * day:              "3 months",
		800 * day:              "2 years",
	} {
		if got := dockertext.Duration(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
