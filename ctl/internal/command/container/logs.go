package container

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type logsOptions struct {
	follow, timestamps, details bool
	tail, since, until, stream  string
}

func newLogs(c *cli.CLI) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] CONTAINER",
		Short: "Print the logs of a container",
		Args:  cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(c.Now(), args[0])
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			return o.run(cmd.Context(), c, req)
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Stream new output until the container exits")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "Prefix each line with its time")
	f.StringVarP(&o.tail, "tail", "n", "all", "Number of lines from the end, or all")
	f.StringVar(&o.since, "since", "", "Only output since a time (RFC 3339, Unix) or age (42m)")
	f.StringVar(&o.until, "until", "", "Only output before a time or age")
	f.BoolVar(&o.details, "details", false, "Prefix each line with labels and variables of --log-opt")
	f.StringVar(&o.stream, "stream", "", "Only one stream: stdout or stderr")
	return cmd
}

func (o *logsOptions) request(now time.Time, reference string) (*containerv1.ReadLogsRequest, error) {
	req := &containerv1.ReadLogsRequest{Reference: reference, Follow: o.follow, Details: o.details,
		Joined: !o.timestamps && !o.details}
	switch o.stream {
	case "":
	case "stdout":
		req.Stream = containerv1.StreamKind_STREAM_KIND_STDOUT
	case "stderr":
		req.Stream = containerv1.StreamKind_STREAM_KIND_STDERR
	default:
		return nil, fmt.Errorf("--stream %s: must be stdout or stderr", o.stream)
	}
	if o.tail != "all" {
		n, err := strconv.ParseUint(o.tail, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--tail %s: must be a number or all", o.tail)
		}
		lines := uint32(n)
		req.Tail = &lines
	}

	if o.since != "" {
		since, err := cli.ParseTime("--since", o.since, now)
		if err != nil {
			return nil, err
		}
		req.Since = timestamppb.New(since)
	}

	if o.until != "" {
		until, err := cli.ParseTime("--until", o.until, now)
		if err != nil {
			return nil, err
		}
		req.Until = timestamppb.New(until)
	}

	return req, nil
}

// run prints the output.
func (o *logsOptions) run(ctx context.Context, c *cli.CLI, req *containerv1.ReadLogsRequest) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cl.Containers.ReadLogs(ctx, req)
	if err != nil {
		return err
	}

	out, errs := &stamped{w: c.Out, begin: true}, &stamped{w: c.Err, begin: true}
	since := ""
	for {
		piece, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return cli.Lost(err, "container %[1]s is not affected; continue with: fairlead logs -f%[2]s %[1]s",
				req.GetReference(), since)
		}
		if piece.GetTime() != nil {
			since = " --since " + piece.GetTime().AsTime().Format(time.RFC3339Nano)
		}
		to := out
		if piece.GetOutput().GetStream() == containerv1.StreamKind_STREAM_KIND_STDERR {
			to = errs
		}
		stamp := ""
		if o.timestamps {
			stamp = piece.GetTime().AsTime().Format(stampLayout) + " "
		}
		if o.details {
			stamp += piece.GetDetails() + " "
		}
		if err := to.write(stamp, piece.GetOutput().GetData()); err != nil {
			return err
		}
	}
}

// stampLayout is RFC 3339 with nine digits of seconds, so that all stamps have the same width.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// stamped writes a stream with a stamp at the start of each line. A line can arrive in several
// pieces.
type stamped struct {
	w     io.Writer
	begin bool
}

func (s *stamped) write(stamp string, data []byte) error {
	if stamp == "" {
		_, err := s.w.Write(data)
		return err
	}

	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		if s.begin {
			out.WriteString(stamp)
		}
		out.Write(line)
		s.begin = bytes.HasSuffix(line, []byte("\n"))
	}

	_, err := s.w.Write(out.Bytes())
	return err
}
