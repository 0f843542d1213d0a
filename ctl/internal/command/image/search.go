package image

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/ctl/internal/command/cli"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

type searchOptions struct {
	noTrunc bool
	limit   int32
	format  string
	filters []string
}

func newSearch(c *cli.CLI) *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:   "search [OPTIONS] [REGISTRY/]TERM",
		Short: "Search Docker Hub or another registry for images",
		Long: `Search Docker Hub or another registry for images. Many other registries have no search.

Filters must all match. Keys: is-official=true|false, is-automated=true|false, stars=NUMBER.

Template fields: .Name .Description .StarCount .IsOfficial. "table TEMPLATE" prints a table.`,
		Args: cli.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fits, err := parseSearchFilter(o.filters)
			if err != nil {
				return &cli.UsageError{Command: cmd.CommandPath(), Code: cli.ExitFailure, Err: err}
			}
			return o.run(cmd.Context(), c, args[0], fits)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate output")
	f.StringArrayVarP(&o.filters, "filter", "f", nil, "Filter: KEY=VALUE")
	f.Int32Var(&o.limit, "limit", 0, "Maximum number of results, at most 100")
	f.StringVar(&o.format, "format", format.Table, "Output format: table, json or a Go template")
	return cmd
}

// found is a row of search results, with Docker's fields.
type found struct {
	Description string
	IsOfficial  string
	Name        string
	StarCount   string
}

// Found returns an empty search result, for the completion of templates.
func Found() any { return found{} }

// maxDescription is the length of a truncated description.
const maxDescription = 45

func (o *searchOptions) run(ctx context.Context, c *cli.CLI, term string,
	fits func(*containerv1.FoundImage) bool) error {
	cl, err := c.Client()
	if err != nil {
		return err
	}
	host, _, _ := strings.Cut(term, "/")
	res, err := cl.Images.SearchImages(ctx, &containerv1.SearchImagesRequest{Term: term, Limit: o.limit,
		Credentials: c.Credentials(ctx, host+"/x", func() bool { return true })})
	if err != nil {
		return err
	}

	rows := []found{}
	for _, i := range res.GetImages() {
		if !fits(i) {
			continue
		}
		r := found{Name: i.GetName(), StarCount: strconv.Itoa(int(i.GetStars())),
			Description: strings.NewReplacer("\n", " ", "\r", " ").Replace(i.GetDescription())}
		if i.GetOfficial() {
			r.IsOfficial = "[OK]"
		}
		if !o.noTrunc {
			r.Description = format.Ellipsis(r.Description, maxDescription)
		}
		rows = append(rows, r)
	}

	header := found{Name: "NAME", Description: "DESCRIPTION", StarCount: "STARS", IsOfficial: "OFFICIAL"}
	return format.Print(c.Screen(), o.format, "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
		header, rows)
}

// parseSearchFilter parses --filter.
func parseSearchFilter(specs []string) (func(*containerv1.FoundImage) bool, error) {
	var tests []func(*containerv1.FoundImage) bool
	for _, spec := range specs {
		key, value, ok := strings.Cut(spec, "=")
		if !ok {
			return nil, fault.Invalidf("--filter "+spec, "filter", "bad format of filter (expected name=value)")
		}
		on, berr := strconv.ParseBool(value)
		stars, serr := strconv.Atoi(value)
		switch {
		case key == "is-official" && berr == nil:
			tests = append(tests, func(i *containerv1.FoundImage) bool { return i.GetOfficial() == on })
		case key == "is-automated" && berr == nil:
			tests = append(tests, func(i *containerv1.FoundImage) bool { return i.GetAutomated() == on })
		case key == "stars" && serr == nil && stars >= 0:
			tests = append(tests, func(i *containerv1.FoundImage) bool { return int(i.GetStars()) >= stars })
		default:
			return nil, fault.Invalidf("--filter "+spec, "filter", "invalid filter '%s'; use is-official=true|false, "+
				"is-automated=true|false or stars=NUMBER", spec)
		}
	}

	return func(i *containerv1.FoundImage) bool {
		for _, fits := range tests {
			if !fits(i) {
				return false
			}
		}
		return true
	}, nil
}
