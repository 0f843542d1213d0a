// Package usage holds the commands that show the resource usage and the processes of containers.
// Package container registers them.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	"github.com/fairlead/fairlead/proto/id"
)

type statsOptions struct {
	all, noStream, noTrunc bool
	format                 string
}

// Stats returns the command `fairlead stats`.
func Stats(c *cli.CLI) *cobra.Command {
	var o statsOptions
	cmd := &cobra.Command{
		Use:   "stats [OPTIONS] [CONTAINER...]",
		Short: "Display the resource usage of containers",
		Long: `Display the resource usage of containers once a second. Without names, all running containers.

Template fields: .Container .Name .ID .CPUPerc .MemUsage .MemPerc .NetIO .BlockIO .PIDs`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), c, args) },
	}
	f := cmd.Flags()
	f.BoolVarP(&o.all, "all", "a", false, "Include stopped containers")
	f.BoolVar(&o.noStream, "no-stream", false, "Print the first sample only")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}

// statsRow is a row of the table, with Docker's fields.
type statsRow struct {
	BlockIO   string
	CPUPerc   string
	Container string
	ID        string
	MemPerc   string
	MemUsage  string
	Name      string
	NetIO     string
	PIDs      string
}

const statsColumns = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t" +
	"{{.BlockIO}}\t{{.PIDs}}"

func statsHeader() statsRow {
	return statsRow{BlockIO: "BLOCK I/O", CPUPerc: "CPU %", Container: "CONTAINER", ID: "CONTAINER ID",
		MemPerc:  "MEM %",
		MemUsage: "MEM USAGE / LIMIT", Name: "NAME", NetIO: "NET I/O", PIDs: "PIDS"}
}

func (o *statsOptions) run(ctx context.Context, c *cli.CLI, references []string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	stream, err := cl.Containers.StreamStats(ctx,
		&containerv1.StreamStatsRequest{References: references, All: o.all, Stream: !o.noStream})
	if err != nil {
		return err
	}

	for {
		sample, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}

		rows := make([]statsRow, 0, len(sample.GetContainers()))
		for i, s := range sample.GetContainers() {
			row := o.row(s)
			if len(references) > i {
				row.Container = references[i]
			}
			rows = append(rows, row)
		}
		if !o.noStream && o.format == format.Table { // redraw
			_, _ = fmt.Fprint(c.Out, "\033[H\033[J")
		}
		if err := format.Print(c.Screen(), o.format, statsColumns, statsHeader(), rows); err != nil {
			return err
		}
	}
}

func (o *statsOptions) row(s *containerv1.ContainerStats) statsRow {
	uid := s.GetId()
	if !o.noTrunc {
		uid = id.Short(uid)
	}

	none := "--"
	r := statsRow{ID: uid, Container: uid, Name: s.GetName(), CPUPerc: none, MemUsage: none + " / " + none,
		MemPerc: none,
		NetIO:   none, BlockIO: none, PIDs: none}
	if !s.GetRunning() {
		return r
	}

	var received, transmitted uint64
	for _, n := range s.GetNetworks() {
		received, transmitted = received+n.GetRxBytes(), transmitted+n.GetTxBytes()
	}

	r.CPUPerc = percent(s.GetCpuNs()-min(s.GetCpuNs(), s.GetPreviousCpuNs()), s.GetIntervalNs())
	r.MemUsage = binarySize(s.GetMemoryBytes()) + " / " + binarySize(s.GetMemoryLimitBytes())
	r.MemPerc = percent(s.GetMemoryBytes(), s.GetMemoryLimitBytes())
	r.NetIO = format.Size(int64(received)) + " / " + format.Size(int64(transmitted))
	r.BlockIO = format.Size(int64(s.GetBlockReadBytes())) + " / " + format.Size(int64(s.GetBlockWriteBytes()))
	r.PIDs = fmt.Sprint(s.GetPids())
	return r
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return "0.00%"
	}
	return fmt.Sprintf("%.2f%%", 100*float64(part)/float64(whole))
}

// binarySize formats a number of bytes with four digits and a binary unit: "1.25MiB".
func binarySize(bytes uint64) string {
	units, n := slices.Values([]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}), float64(bytes)
	for unit := range units {
		if n < 1024 || unit == "EiB" {
			return fmt.Sprintf("%.4g%s", n, unit)
		}
		n /= 1024
	}
	return ""
}
