package logdriver

import (
	"strings"
	"testing"
)

func TestLogOptions(t *testing.T) {
	options := func(key, value string) map[string]string { return map[string]string{key: value} }
	for want, l := range map[string]Config{
		"log driver gelf is not supported":                  {Driver: "gelf"},
		"logger: no log driver named 'x' is registered":     {Driver: "x"},
		"invalid logging opts for driver none":              {Driver: "none", Options: options("max-size", "1m")},
		"unknown log opt 'nosuch' for json-file log driver": {Options: options("nosuch", "x")},
		"compress is not supported":                         {Driver: "local", Options: options("compress", "true")},
		"invalid compress: 'x'":                             {Options: options("compress", "x")},
		"mode non-blocking is not supported":                {Options: options("mode", "non-blocking")},
		`logger: logging mode not supported: "x"`:           {Driver: "journald", Options: options("mode", "x")},
		"log opt 'env' is not supported for journald":       {Driver: "journald", Options: options("env", "A")},
		"unknown log opt 'max-size' for journald":           {Driver: "journald", Options: options("max-size", "1m")},
		"invalid cache-max-size: '1'": {Driver: "journald", Options: options("cache-max-size",
			"1")},
		"invalid cache-max-file: 'x'": {Driver: "journald", Options: options("cache-max-file",
			"x")},
		"invalid cache-disabled: 'x'": {Driver: "journald", Options: options("cache-disabled",
			"x")},
		"invalid tag":                      {Driver: "journald", Options: options("tag", "{{")},
		"invalid max-size: '1k'":           {Options: options("max-size", "1k")},
		"invalid max-size: '99999999999g'": {Options: options("max-size", "99999999999g")},
		"invalid max-size: '-2'":           {Options: options("max-size", "-2")},
		"invalid max-file: '0'":            {Options: options("max-file", "0")},
		"invalid max-file: '101'":          {Options: options("max-file", "101")},
		"invalid max-file: ''":             {Options: options("max-file", "")},
	} {
		if err := l.Validate("container web"); err == nil || !strings.Contains(err.Error(), "container web: "+want) {
			t.Errorf("%+v: got %v, want %q", l, err, want)
		}
	}

	for text, want := range map[string]int64{"64k": 64 << 10, "10M": 10 << 20, "2gb": 2 << 30,
		"70000": 70000, "-1": 0} {
		l := Config{Options: map[string]string{MaxSize: text, MaxFile: "3"}}
		size, ok := l.Size()
		files, also := l.Files()
		if err := l.Validate("container web"); err != nil || size != want || !ok || files != 3 || !also {
			t.Errorf("%s: got %d, %d, %v", text, size, files, err)
		}
	}
	if _, ok := (Config{}).Size(); ok {
		t.Error("got a size without an option")
	}
}

func TestJournalHasBoundedCopy(t *testing.T) {
	for _, tc := range []struct {
		options map[string]string
		size    int64
		files   int
		copied  bool
		tag     string
	}{
		{nil, 20 << 20, 5, true, "0123456789ab"},
		{map[string]string{"cache-max-size": "1m", "cache-max-file": "2", "tag": "{{.Name}}", "mode": "blocking"},
			1 << 20, 2, true, "web"},
		{map[string]string{"cache-disabled": "true"}, 20 << 20, 5, false, "0123456789ab"},
		{map[string]string{"cache-disabled": "false"}, 20 << 20, 5, true, "0123456789ab"},
	} {
		l := Config{Driver: Journald, Options: tc.options}
		size, _ := l.Size()
		files, _ := l.Files()
		tag := l.JournalTag(Subject{ContainerID: "0123456789abcdef", ContainerName: "web"})
		if err := l.Validate("container web"); err != nil || size != tc.size || files != tc.files ||
			l.WritesFiles() != tc.copied || tag != tc.tag {
			t.Errorf("%v: got %d bytes, %d files, copied %v, tag %s, %v", tc.options, size, files, l.WritesFiles(),
				tag, err)
		}
	}
	if (Config{Driver: None}).WritesFiles() || !(Config{}).WritesFiles() {
		t.Error("the drivers none and json-file")
	}
}
