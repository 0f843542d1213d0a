package image

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/dockertext"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type listOptions struct {
	quiet, noTrunc, digests bool
	format                  string
	filters                 []string
}

func newList(c *cli.CLI, name string, aliases ...string) *cobra.Command {
	var o listOptions
	cmd := &cobra.Command{
		Use:     name + " [OPTIONS] [NAME[:TAG]|PATTERN]",
		Aliases: aliases,
		Short:   "List images",
		Long: `List images. NAME and PATTERN select repositories, such as 'red*' or 'example.com/*:v1'.

Filters must all match, except for several patterns. Keys: dangling=true|false (without a tag),
reference=PATTERN, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME (by build time).

Template fields: .Repository .Tag .Digest .ID .CreatedAt .CreatedSince .Size.
"table TEMPLATE" prints a table.`,
		Args: cli.RangeArgs(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return cli.FilterError(cmd, o.run(cmd.Context(), c, strings.Join(args, "")))
		},
	}
	f := cmd.Flags()
	f.BoolP("all", "a", false, "Accepted for Docker compatibility; no effect")
	f.BoolVar(&o.digests, "digests", false, "Show digests")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Print only IDs")
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}

// row is a row of the list, one for each tag, with Docker's fields.
type row struct {
	Containers   string // not measured, like SharedSize and UniqueSize
	CreatedAt    string
	CreatedSince string
	Digest       string
	ID           string
	Repository   string
	SharedSize   string
	Size         string
	Tag          string
	UniqueSize   string
	VirtualSize  string

	image *containerv1.Image
}

// none is printed for a missing name, tag or digest.
const none = "<none>"

// Row returns an empty row, for the completion of templates.
func Row() any { return row{} }

const columns = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"

const columnsWithDigests = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"

// run prints the images with a name or pattern; empty means all.
func (o *listOptions) run(ctx context.Context, c *cli.CLI, name string) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}

	list, err := cl.SelectImages(ctx, &containerv1.ListImagesRequest{Filters: o.filters})
	if err != nil {
		return err
	}
	rows, seen := []row{}, map[string]bool{}
	for _, i := range list {
		for _, r := range o.rows(i, c.Now()) {
			// With --quiet, each ID is printed once.
			if name != "" && !r.is(name) || (o.quiet && seen[r.ID]) {
				continue
			}
			seen[r.ID] = true
			rows = append(rows, r)
		}
	}

	text := o.format
	if o.quiet {
		text = "{{.ID}}"
	}

	header := row{CreatedAt: "CREATED AT", CreatedSince: "CREATED", Digest: "DIGEST", ID: "IMAGE ID",
		Repository: "REPOSITORY", Size: "SIZE",
		Tag: "TAG", VirtualSize: "SIZE", SharedSize: "SHARED SIZE", UniqueSize: "UNIQUE SIZE", Containers: "CONTAINERS"}
	shown := columns
	if o.digests {
		shown = columnsWithDigests
	}

	return format.Print(c.Screen(), text, shown, header, rows)
}

// rows returns a row for each tag, or one for an image without tags.
func (o *listOptions) rows(i *containerv1.Image, now time.Time) []row {
	created := i.GetCreatedAt().AsTime()
	r := row{
		CreatedAt: created.Local().Format("2006-01-02 15:04:05 -0700 " +
			"MST"), CreatedSince: dockertext.Duration(now.Sub(created)) + " ago",
		Digest: none, ID: i.GetId(), Repository: none, Size: format.Size(i.GetSize()), Tag: none,
		VirtualSize: format.Size(i.GetSize()), SharedSize: "N/A", UniqueSize: "N/A", Containers: "N/A", image: i,
	}
	if i.GetCreatedAt() == nil {
		r.CreatedAt, r.CreatedSince = "N/A", "N/A"
	}
	if !o.noTrunc {
		r.ID = format.Digest(r.ID)
	}

	digests := map[string]string{}
	for _, d := range i.GetDigests() {
		repository, digest, _ := strings.Cut(d, "@")
		digests[repository], r.Digest = digest, digest
		r.Repository = repository
	}

	if len(i.GetTags()) == 0 {
		return []row{r}
	}

	var out []row
	for _, t := range i.GetTags() {
		at := strings.LastIndexByte(t, ':')
		r.Repository, r.Tag, r.Digest = t[:max(at, 0)], t[at+1:], none
		if d := digests[r.Repository]; d != "" {
			r.Digest = d
		}
		out = append(out, r)
	}

	return out
}
