package logging_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/internal/logging"
)

func TestFormatAndLevelAreAsAskedFor(t *testing.T) {
	var out bytes.Buffer
	log := logging.New(&out, slog.LevelWarn, "json")
	log.Info("quiet")
	log.Warn("loud", "n", 1)
	var line struct {
		Msg string
		N   int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Msg != "loud" || line.N != 1 {
		t.Errorf("%q: %v", out.String(), err)
	}
	out.Reset()
	logging.New(&out, slog.LevelInfo, "text").Info("hello", "n", 1)
	if !strings.Contains(out.String(), "level=INFO msg=hello n=1\n") {
		t.Errorf("text is %q", out.String())
	}
}
