package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/id"
)

// Records are the options of a command that prints records about containers, such as refusals, as they are
// recorded.
type Records struct {
	Follow    bool
	Container string // a reference; empty means all

	noTrunc       bool
	since, format string
}

// AddFlags adds the flags.
func (o *Records) AddFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "Continue with new ones")
	f.StringVar(&o.since, "since", "", "Show those since a time: a date, Unix seconds or an age such as 10m")
	f.StringVar(&o.Container, "container", "", "Show those of one container")
	f.StringVar(&o.format, "format", format.Table, "Output format: table or json")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Print full container IDs")
}

// Since checks the options, and returns the time of the first record. It is nil if all are wanted.
func (o *Records) Since(cmd *cobra.Command) (*timestamppb.Timestamp, error) {
	if o.format != format.Table && o.format != format.JSON {
		return nil, &UsageError{Command: cmd.CommandPath(), Code: ExitFailure,
			Err: fmt.Errorf("unknown format %q, must be table or json", o.format)}
	}
	if o.since == "" {
		return nil, nil
	}
	t, err := ParseTime("--since", o.since, time.Now())
	if err != nil {
		return nil, err
	}
	return timestamppb.New(t), nil
}

// IsJSON reports whether each record is printed as a line of JSON.
func (o *Records) IsJSON() bool { return o.format == format.JSON }

// NameOf returns the name of a container in a table: its ID if it has none, or if IDs are wanted.
func (o *Records) NameOf(uid, name string) string {
	switch {
	case o.noTrunc:
		return uid
	case name == "":
		return id.Short(uid)
	}
	return name
}
