package copyspec_test

import (
	"errors"
	"testing"

	"github.com/fairlead/fairlead/ctl/internal/copyspec"
)

func TestParseArg(t *testing.T) {
	for arg, want := range map[string][2]string{
		"web:/etc": {"web", "/etc"}, "web:rel": {"web", "rel"}, "web:a:b": {"web", "a:b"}, "web:": {"web", ""},
		"/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"}, "../a:b": {"", "../a:b"}, "file": {"", "file"}, "-": {"", "-"},
		":/x": {"", "/x"},
	} {
		if c, p := copyspec.ParseArg(arg); c != want[0] || p != want[1] {
			t.Errorf("%s: got %q, %q, want %q", arg, c, p, want)
		}
	}
}

func TestPlan(t *testing.T) {
	file, dir := copyspec.Path{Name: "/s/f", Exists: true}, copyspec.Path{Name: "/s/d", Exists: true, IsDir: true}
	content := copyspec.Path{Name: "/s/d/.", Exists: true, IsDir: true}
	slash := copyspec.Path{Name: "/s/d/", Exists: true, IsDir: true}
	root := copyspec.Path{Name: "/", Exists: true, IsDir: true}
	none := func(name string) copyspec.Path { return copyspec.Path{Name: name} }
	isFile := func(name string) copyspec.Path { return copyspec.Path{Name: name, Exists: true} }
	isDir := func(name string) copyspec.Path { return copyspec.Path{Name: name, Exists: true, IsDir: true} }

	for _, c := range []struct {
		what     string
		src, dst copyspec.Path
		dir, to  string
		err      error
	}{
		{"file to nothing", file, none("/x/new"), "/x/", "new", nil},
		{"file to nothing with slash", file, none("/x/new/"), "", "", copyspec.ErrNoDirectory},
		{"file to nothing with dot", file, none("/x/new/."), "", "", copyspec.ErrNoDirectory},
		{"file over file", file, isFile("/x/old"), "/x/", "old", nil},
		{"file into directory", file, isDir("/x"), "/x", "f", nil},
		{"file into directory with slash", file, isDir("/x/"), "/x/", "f", nil},
		{"directory to nothing", dir, none("/x/new"), "/x/", "new", nil},
		{"directory to nothing with slash", dir, none("/x/new/"), "/x/", "new", nil},
		{"directory over file", dir, isFile("/x/old"), "", "", copyspec.ErrOntoFile},
		{"directory into directory", dir, isDir("/x"), "/x", "d", nil},
		{"directory with slash into directory", slash, isDir("/x"), "/x", "d", nil},
		{"content to nothing", content, none("/x/new"), "/x/", "new", nil},
		{"content over file", content, isFile("/x/old"), "", "", copyspec.ErrOntoFile},
		{"content into directory", content, isDir("/x"), "/x", ".", nil},
		{"root into directory", root, isDir("/x"), "/x", ".", nil},
		{"root to nothing", root, none("/x/new"), "/x/", "new", nil},
		{"file to relative", file, none("new"), "", "new", nil},
	} {
		d, to, err := copyspec.Plan(c.src, c.dst)
		if d != c.dir || to != c.to || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %q, %v, want %q, %q, %v", c.what, d, to, err, c.dir, c.to, c.err)
		}
	}
}

func TestRename(t *testing.T) {
	for _, c := range [][4]string{
		{"d/", "d", "x", "x"}, {"d/a/b", "d", "x", "x/a/b"}, {"dd/a", "d", "x", "dd/a"}, {"./", ".", ".", "."},
		{"./a", ".", ".", "a"}, {"./a", ".", "x", "x/a"}, {"./", ".", "x", "x"}, {"d/a", "d", ".", "a"},
		{"../a", "d", "x", "../a"},
	} {
		if got := copyspec.Rename(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%q: got %q, want %q", c[:3], got, c[3])
		}
	}
}
