package metrics_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/agent/metrics"
)

func families() []metrics.Family {
	return []metrics.Family{
		{Name: "fairlead_b_total", Kind: metrics.Counter, Help: "B\\ with\nlines.", Labels: []string{"container"}},
		{Name: "fairlead_a", Kind: metrics.Gauge, Help: "A."},
		{Name: "fairlead_c_seconds", Kind: metrics.Summary, Help: "C.", Labels: []string{"server", "code"}},
		{Name: "fairlead_empty", Kind: metrics.Gauge, Help: "No samples."},
	}
}

func TestTextFormat(t *testing.T) {
	s := metrics.NewSet(families())
	s.Add("fairlead_b_total", 1, "web")
	s.Add("fairlead_b_total", 2, "we\"b\\\n\xff")
	s.Add("fairlead_b_total", 1, "web")
	s.Add("fairlead_a", 0.5)
	var times metrics.Times
	times.Add(time.Second, "OK")
	times.Add(2*time.Second, "OK")
	times.Measure(s, "fairlead_c_seconds", "public")
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}

	other := metrics.NewSet([]metrics.Family{{Name: "fairlead_b_total", Kind: metrics.Counter, Help: "Another text.",
		Labels: []string{"container"}}, {Name: "fairlead_a", Kind: metrics.Counter, Help: "Of another version."}})
	other.Add("fairlead_b_total", 7, "db")
	other.Add("fairlead_a", 9)

	var text strings.Builder
	if err := metrics.Write(&text, append(s.Measured(), other.Measured()...)); err != nil {
		t.Fatal(err)
	}
	want := `# HELP fairlead_a A.
# TYPE fairlead_a gauge
fairlead_a 0.5
# HELP fairlead_b_total B\\ with\nlines.
# TYPE fairlead_b_total counter
fairlead_b_total{container="db"} 7
fairlead_b_total{container="we\"b\\\n?"} 2
fairlead_b_total{container="web"} 2
# HELP fairlead_c_seconds C.
# TYPE fairlead_c_seconds summary
fairlead_c_seconds_sum{server="public",code="OK"} 3
fairlead_c_seconds_count{server="public",code="OK"} 2
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", text.String(), want)
	}
}

func TestHistogramsHaveCumulativeBuckets(t *testing.T) {
	family := metrics.Family{Name: "fairlead_h_seconds", Kind: metrics.Histogram, Help: "H.",
		Labels: []string{"outcome"}}
	s := metrics.NewSet([]metrics.Family{family})
	var times metrics.Times
	for _, d := range []time.Duration{0, 500 * time.Microsecond, time.Millisecond, 30 * time.Millisecond, time.Minute} {
		times.Add(d, metrics.Outcome(nil))
	}
	times.Measure(s, "fairlead_h_seconds")
	times.Measure(s, "fairlead_h_seconds") // samples are added up
	var text strings.Builder
	if err := metrics.Write(&text, s.Measured()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(text.String(), "\n")
	for _, want := range []string{`_bucket{outcome="ok",le="0.0005"} 4`, `_bucket{outcome="ok",le="0.001"} 6`,
		`_bucket{outcome="ok",le="0.025"} 6`, `_bucket{outcome="ok",le="0.05"} 8`, `_bucket{outcome="ok",le="10"} 8`,
		`_bucket{outcome="ok",le="+Inf"} 10`, `_count{outcome="ok"} 10`, `_sum{outcome="ok"} 120.063`} {
		if !slices.Contains(lines, "fairlead_h_seconds"+want) {
			t.Errorf("no line %s in\n%s", want, text.String())
		}
	}

	for i := range metrics.MaxSamples {
		s.AddDistribution("fairlead_h_seconds", metrics.Distribution{Count: 1}, fmt.Sprint(i))
	}
	text.Reset()
	if err := metrics.Write(&text, s.Measured()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "\n"); n > metrics.MaxSamples+2 {
		t.Errorf("got %d lines of one histogram", n)
	}
}

func TestSamplesAreBounded(t *testing.T) {
	s := metrics.NewSet(families())
	var times metrics.Times
	for i := range 3 * metrics.MaxSamples {
		s.Add("fairlead_b_total", 1, fmt.Sprint(i))
		times.Add(time.Millisecond, fmt.Sprint(i))
	}
	times.Measure(s, "fairlead_c_seconds", "public")
	b, c := s.Measured()[0].Samples, s.Measured()[2].Samples
	if len(b) != metrics.MaxSamples || len(c) > metrics.MaxSamples || s.Err() != nil {
		t.Fatalf("got %d and %d samples, error %v", len(b), len(c), s.Err())
	}
	if last := b[len(b)-1]; last.Labels[0] != metrics.Other || last.Value != 2*metrics.MaxSamples+1 {
		t.Errorf("got %v", last)
	}
	var count uint64
	for _, one := range c {
		count += one.Count
	}
	if count != 3*metrics.MaxSamples {
		t.Errorf("got %d events, want %d", count, 3*metrics.MaxSamples)
	}
}

func TestUndeclaredSamplesAreErrors(t *testing.T) {
	for name, labels := range map[string][]string{"fairlead_x": nil, "fairlead_a": {"label"}, "fairlead_b_total": nil} {
		s := metrics.NewSet(families())
		if s.Add(name, 1, labels...); s.Err() == nil {
			t.Errorf("%s with labels %v: no error", name, labels)
		}
	}
}

func TestFamiliesAreChecked(t *testing.T) {
	good := metrics.Family{Name: "fairlead_x_total", Kind: metrics.Counter, Help: "X.", Labels: []string{"a_b"}}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*metrics.Family){
		func(f *metrics.Family) { f.Name = "x_total" }, func(f *metrics.Family) { f.Name = "fairlead_X_total" },
		func(f *metrics.Family) { f.Name = "fairlead_x" }, func(f *metrics.Family) { f.Kind = metrics.Gauge },
		func(f *metrics.Family) { f.Help = "X" }, func(f *metrics.Family) { f.Kind = "unknown" },
		func(f *metrics.Family) { f.Name, f.Kind = "fairlead_x_bytes", metrics.Histogram },
		func(f *metrics.Family) { f.Labels = []string{"A"} },
		func(f *metrics.Family) { f.Name, f.Kind = "fairlead_x", metrics.Summary },
	} {
		bad := good
		if change(&bad); bad.Check() == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}
