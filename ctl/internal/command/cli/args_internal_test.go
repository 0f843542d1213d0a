package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Errors of flags say what is accepted, not which function of Go has rejected it.
func TestFlagsSayWhatTheyAccept(t *testing.T) {
	for arg, want := range map[string]string{
		"--max=-3":         `invalid argument "-3" for "--max" flag: must be a whole number, 0 or more`,
		"--max=4294967296": `invalid argument "4294967296" for "--max" flag: is out of range`,
		"--limit=x":        `invalid argument "x" for "--limit" flag: must be a whole number`,
		"--share=x":        `invalid argument "x" for "--share" flag: must be a number`,
		"--rm=maybe":       `invalid argument "maybe" for "--rm" flag: must be true or false`,
	} {
		cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
		cmd.SetFlagErrorFunc(FlagError)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		cmd.Flags().Uint32("max", 0, "")
		cmd.Flags().Int64("limit", 0, "")
		cmd.Flags().Float64("share", 0, "")
		cmd.Flags().Bool("rm", false, "")
		cmd.SetArgs([]string{arg})
		var usage *UsageError
		if err := cmd.Execute(); !errors.As(err, &usage) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", arg, err, want)
		}
	}
}
