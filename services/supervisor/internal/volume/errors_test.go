package volume_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/volume"
)

const chars = `name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed; ` +
	`if you intended to pass a host directory, use absolute path`

func TestNewNamesVolumeInErrors(t *testing.T) {
	for name, c := range map[string]struct {
		volume, driver  string
		options, labels map[string]string
		kind            fault.Kind
		field, want     string
	}{
		"short name": {"a", "", nil, nil, fault.Invalid, "volume",
			"volume a: volume name is too short, names should be at least two alphanumeric characters"},
		"relative path": {"./data", "", nil, nil, fault.Invalid, "volume",
			`volume ./data: "./data" includes invalid characters for a local volume ` + chars},
		"unknown driver": {"data", "nfs", nil, nil, fault.NotFound, "driver", `volume data: error looking up volume ` +
			`plugin nfs: plugin "nfs" not found; use the driver local`},
		"unnamed label": {"data", "local", nil, map[string]string{"": "x"}, fault.Invalid, "label",
			"volume data: a label must have a name"},
		"unknown option": {"data", "local", map[string]string{"size": "1g"}, nil, fault.Invalid, "opt",
			`volume data: invalid option: "size"; use type, o and device`},
		"no device": {"data", "local", map[string]string{"type": "tmpfs"}, nil, fault.Invalid, "opt",
			`volume data: missing required option: "device"`},
		"no type": {"data", "local", map[string]string{"device": "/srv", "o": "ro"}, nil, fault.Invalid, "opt",
			`volume data: missing required option: "type"`},
		"driver before name": {"a", "nfs", nil, nil, fault.NotFound, "driver",
			`volume a: error looking up volume plugin nfs: plugin "nfs" not found; use the driver local`},
		"name before options": {"a", "", map[string]string{"size": "1g"}, nil, fault.Invalid, "volume",
			"volume a: volume name is too short, names should be at least two alphanumeric characters"},
	} {
		v, err := volume.New(c.volume, c.driver, c.options, c.labels, time.Time{})
		checkFault(t, name, err, c.kind, c.field, c.want)
		if v != nil {
			t.Errorf("%s: got a volume with an error", name)
		}
	}
}

func checkFault(t *testing.T, name string, err error, kind fault.Kind, field, want string) {
	t.Helper()
	f, ok := err.(*fault.Fault)
	if !ok || f.Kind != kind || f.Field != field || f.Error() != want {
		t.Errorf("%s: got  %v\nwant %s (kind %v, field %q)", name, err, want, kind, field)
	}
}

func TestFaultsNameContainersAndRemedy(t *testing.T) {
	checkFault(t, "in use", volume.InUse("data", []string{"web", "db"}), fault.Busy, "",
		"volume data: remove data: volume is in use - [web, db]; "+
			"remove these containers first: fairlead ps -a --filter volume=data")
	checkFault(t, "missing", volume.NotFound("data"), fault.NotFound, "", "volume data: get data: no such volume")
}

func TestNewStoresRequest(t *testing.T) {
	at := time.Unix(1700000000, 0)
	labels := map[string]string{"tier": "db"}
	for _, driver := range []string{"", volume.Local} {
		v, err := volume.New("data", driver, nil, labels, at)
		if err != nil || v.Name != "data" || v.Driver != volume.Local || v.Labels["tier"] != "db" ||
			!v.CreatedAt.Equal(at) || v.Removing || v.Anonymous() {
			t.Errorf("driver %q: got %+v, %v", driver, v, err)
		}
		if m, err := v.Mount(); m != nil || err != nil {
			t.Errorf("driver %q: got mount %+v, %v for a plain directory", driver, m, err)
		}
	}
}

func TestSecondCreateMustMatch(t *testing.T) {
	bind := map[string]string{"type": "none", "o": "bind", "device": "/srv"}
	has := &volume.Volume{Name: "data", Options: bind, Labels: map[string]string{"tier": "db"}}
	for name, c := range map[string]struct {
		again       volume.Volume
		field, want string
	}{
		"nothing given": {},
		"the same":      {again: volume.Volume{Options: bind, Labels: map[string]string{"tier": "db"}}},
		"other options": {volume.Volume{Options: map[string]string{"type": "none", "o": "rbind", "device": "/srv"}},
			"opt", "volume data: already exists with other options; remove it first, or choose another name"},
		"other labels": {volume.Volume{Labels: map[string]string{"tier": "web"}},
			"label", "volume data: already exists with other labels; remove it first, or choose another name"},
		"further label": {volume.Volume{Options: bind, Labels: map[string]string{"tier": "db", "x": ""}},
			"label", "volume data: already exists with other labels; remove it first, or choose another name"},
	} {
		err := has.Conflict(&c.again)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		checkFault(t, name, err, fault.Exists, c.field, c.want)
	}
}

func TestParseFrom(t *testing.T) {
	const field, mode = "container: invalid volumes-from specification: ", "container: invalid mode "
	for spec, c := range map[string]struct {
		ref      string
		readOnly bool
		want     string
	}{
		"web": {ref: "web"}, "web:rw": {ref: "web"}, "web:z": {ref: "web"},
		"web:ro": {ref: "web", readOnly: true}, "web:ro,Z": {ref: "web", readOnly: true},
		"":            {want: field + `""`},
		":ro":         {want: field + `":ro"`},
		"web:":        {ref: "web"},
		"web:Z,rw":    {ref: "web"},
		"web:ro,rw":   {want: mode + `"ro,rw" for volumes-from`},
		"web:ro,ro":   {want: mode + `"ro,ro" for volumes-from`},
		"web:z,Z":     {want: mode + `"z,Z" for volumes-from`},
		"web:nocopy":  {want: mode + `"nocopy" for volumes-from`},
		"web:RO":      {want: mode + `"RO" for volumes-from`},
		"web:ro,":     {want: mode + `"ro," for volumes-from`},
		"web:rshared": {want: mode + `"rshared" for volumes-from`},
	} {
		ref, readOnly, err := volume.ParseFrom(spec)
		if ref != c.ref || readOnly != c.readOnly || (err == nil) != (c.want == "") {
			t.Errorf("%q: got %q, %v, %v", spec, ref, readOnly, err)
		}
		if c.want != "" {
			checkFault(t, spec, err, fault.Invalid, "volumes-from", c.want)
		}
	}
}

func TestLabelSpecs(t *testing.T) {
	v := &volume.Volume{Labels: map[string]string{"a": "1", "empty": "", "eq": "x=y"}}
	for spec, want := range map[string]bool{"a": true, "a=1": true, "a=": false, "a=2": false, "empty": true,
		"empty=": true, "eq=x=y": true, "eq=x": false, "nosuch": false, "nosuch=": false, "": false} {
		if got := v.HasLabel(spec); got != want {
			t.Errorf("%q: got %v, want %v", spec, got, want)
		}
	}
}

// FuzzName checks that a valid name is one path element below the volumes' directory.
func FuzzName(f *testing.F) {
	for _, name := range []string{"data", "..", "a..", "a/b", "-a", "a\n", "ab\xff", strings.Repeat("a", 256)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if err := volume.ValidateName(name); err != nil {
			if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "volume "+name+": ") {
				t.Errorf("%q: got %v", name, err)
			}
			return
		}
		if len(name) < 2 || len(name) > 255 || name[0] == '.' || name[0] == '-' ||
			strings.ContainsAny(name, "/\\:, \n\x00") {
			t.Errorf("%q is accepted", name)
		}
	})
}
