package container_test

import (
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
)

func TestHealthCheckMergesImage(t *testing.T) {
	image := `{"config":{"Cmd":["x"],"Shell":["/bin/ash","-ec"],"Healthcheck":{"Test":["CMD-SHELL","a b"],"Interval":7000000000,"Retries":9}}}`
	for name, c := range map[string]struct {
		user  *healthcheck.Check
		image string
		args  []string
	}{
		"none":            {nil, `{"config":{"Cmd":["x"]}}`, nil},
		"image":           {nil, image, []string{"/bin/ash", "-ec", "a b"}},
		"other interval":  {&healthcheck.Check{Interval: time.Second}, image, []string{"/bin/ash", "-ec", "a b"}},
		"other test":      {&healthcheck.Check{Test: []string{"CMD", "c", "d"}}, image, []string{"c", "d"}},
		"disabled":        {&healthcheck.Check{Test: []string{"NONE"}}, image, nil},
		"only options":    {&healthcheck.Check{Retries: 1}, `{"config":{"Cmd":["x"]}}`, nil},
		"unknown type":    {nil, `{"config":{"Cmd":["x"],"Healthcheck":{"Test":["HTTP","/"]}}}`, nil},
		"shell by itself": {nil, `{"config":{"Cmd":["x"],"Healthcheck":{"Test":["CMD-SHELL","a"]}}}`, []string{"/bin/sh", "-c", "a"}},
	} {
		img, err := container.ParseImageConfig([]byte(c.image))
		if err != nil {
			t.Fatal(err)
		}
		p, err := container.ProcessOf(&container.Config{Image: "i", Health: c.user}, img)
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		if p.Health != nil {
			args = p.Health.Args
		}
		if !slices.Equal(args, c.args) {
			t.Errorf("%s: got %q, want %q", name, args, c.args)
		}
	}
}
