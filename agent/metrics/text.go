package metrics

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ContentType is the type of the text format.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Write writes families in the text format of Prometheus. Families with the same name are written as
// one; the first has the help text.
func Write(w io.Writer, all []Measured) error {
	out := bufio.NewWriter(w)
	byName := map[string][]Measured{}
	for _, m := range all {
		byName[m.Name] = append(byName[m.Name], m)
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)

	for _, name := range names {
		first := byName[name][0]
		lines := linesOf(byName[name])
		if len(lines) == 0 {
			continue
		}
		_, _ = fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, escapeHelp(first.Help), name, first.Kind)
		for _, line := range lines {
			_, _ = out.WriteString(line)
		}
	}
	return out.Flush()
}

// linesOf returns the sorted samples of the families with one name.
func linesOf(same []Measured) (lines []string) {
	for _, m := range same {
		if m.Kind != same[0].Kind {
			continue // processes of different versions
		}
		for _, s := range m.Samples {
			labels := labelText(m.Labels, s.Labels)
			if m.Kind == Summary || m.Kind == Histogram {
				lines = append(lines, m.buckets(s)+m.Name+"_sum"+labels+" "+number(s.Value)+"\n"+
					m.Name+"_count"+labels+" "+strconv.FormatUint(s.Count, 10)+"\n")
				continue
			}
			lines = append(lines, m.Name+labels+" "+number(s.Value)+"\n")
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// buckets returns the lines of the buckets of a histogram, which are cumulative.
func (m Measured) buckets(s Sample) string {
	if m.Kind != Histogram {
		return ""
	}
	var out strings.Builder
	names, sum := append(slices.Clone(m.Labels), "le"), uint64(0)
	line := func(bound string, n uint64) {
		labels := labelText(names, append(slices.Clone(s.Labels), bound))
		_, _ = fmt.Fprintf(&out, "%s_bucket%s %d\n", m.Name, labels, n)
	}
	for i, bound := range bounds() {
		if i < len(s.Buckets) {
			sum += s.Buckets[i]
		}
		line(number(bound), sum)
	}
	line("+Inf", s.Count)
	return out.String()
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func labelText(names, values []string) string {
	var parts []string
	for i, name := range names {
		if i < len(values) {
			parts = append(parts, name+`="`+escapeLabel(values[i])+`"`)
		}
	}
	if parts == nil {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(s, "?"))
}

func escapeHelp(s string) string { return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(s) }

// Check returns what is wrong with a family: the rules of promtool check metrics, and our own.
func (f Family) Check() error {
	valid := regexp.MustCompile(`^fairlead_[a-z][a-z0-9_]*$`)
	total := strings.HasSuffix(f.Name, "_total")
	switch {
	case !valid.MatchString(f.Name):
		return fmt.Errorf("%s is not a name of a metric", f.Name)
	case !strings.HasSuffix(f.Help, "."):
		return fmt.Errorf("%s: help text without a full stop", f.Name)
	case f.Kind == Counter != total:
		return fmt.Errorf("%s: counters, and nothing else, end with _total", f.Name)
	case f.Kind == Histogram && !strings.HasSuffix(f.Name, "_seconds"):
		return fmt.Errorf("%s: a histogram has the unit of its bounds", f.Name)
	case f.Kind == Summary && !strings.HasSuffix(f.Name, "_seconds") && !strings.HasSuffix(f.Name, "_bytes"):
		return fmt.Errorf("%s: a summary has a unit", f.Name)
	case f.Kind != Counter && f.Kind != Gauge && f.Kind != Summary && f.Kind != Histogram:
		return fmt.Errorf("%s: unknown kind %q", f.Name, f.Kind)
	}
	label := regexp.MustCompile(`^[a-z][a-z_]*$`)
	for _, name := range f.Labels {
		if !label.MatchString(name) {
			return fmt.Errorf("%s: %q is not a name of a label", f.Name, name)
		}
	}
	return nil
}
