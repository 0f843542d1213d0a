package image

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/dockertext"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type historyOptions struct {
	human, quiet, noTrunc bool
	format, platform      string
}

func newHistory(c *cli.CLI) *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:   "history [OPTIONS] IMAGE",
		Short: "Show the history of an image",
		Long: `Show the history of an image: its build steps, the latest first. Intermediate images of other builders
are <missing>.

Template fields: .ID .CreatedAt .CreatedSince .CreatedBy .Size .Comment. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), c, args[0])
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.human, "human", true, "Print sizes and dates in human readable format")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only IDs")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	f.StringVar(&o.platform, "platform", "", "Image platform: OS/ARCH[/VARIANT] (default: the host's)")
	return cmd
}

// step is a row of the history, with Docker's fields.
type step struct {
	Comment      string
	CreatedAt    string
	CreatedBy    string
	CreatedSince string
	ID           string
	Size         string
}

// Step returns an empty row of the history, for the completion of templates.
func Step() any { return step{} }

// maxCommand is the length of a truncated command.
const maxCommand = 45

func (o *historyOptions) run(ctx context.Context, c *cli.CLI, name string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	res, err := cl.Images.GetImageHistory(ctx, &containerv1.GetImageHistoryRequest{Reference: name,
		Platform: o.platform})
	if err != nil {
		return err
	}

	rows := []step{}
	for _, h := range res.GetHistory() {
		rows = append(rows, o.row(h, c.Now()))
	}

	text, columns := o.format, "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
	if o.quiet {
		text = "{{.ID}}"
	}
	header := step{ID: "IMAGE", CreatedSince: "CREATED", CreatedAt: "CREATED AT", CreatedBy: "CREATED BY",
		Size: "SIZE", Comment: "COMMENT"}
	if !o.human {
		columns = strings.Replace(columns, "CreatedSince", "CreatedAt", 1)
	}

	return format.Print(c.Screen(), text, columns, header, rows)
}

func (o *historyOptions) row(h *containerv1.ImageHistory, now time.Time) step {
	s := step{ID: h.GetId(), CreatedBy: strings.ReplaceAll(h.GetCreatedBy(), "\t", " "), Comment: h.GetComment(),
		Size: strconv.FormatInt(h.GetSize(), 10), CreatedAt: "N/A", CreatedSince: "N/A"}
	if s.ID == "" {
		s.ID = "<missing>"
	}
	if h.GetCreatedAt() != nil {
		created := h.GetCreatedAt().AsTime()
		s.CreatedAt = created.Local().Format(time.RFC3339)
		if s.CreatedSince = s.CreatedAt; o.human {
			s.CreatedSince = dockertext.Duration(now.Sub(created)) + " ago"
		}
	}
	if o.human {
		s.Size = format.Size(h.GetSize())
	}
	if !o.noTrunc {
		s.ID, s.CreatedBy = format.Digest(s.ID), format.Ellipsis(s.CreatedBy, maxCommand)
	}

	return s
}
