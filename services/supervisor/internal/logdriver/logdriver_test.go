package logdriver

import (
	"strings"
	"testing"
)

func TestLogOptions(t *testing.T) {
	options := func(key, value string) map[string]string { return map[string]string{key: value} }
	for want, l := range map[string]Config{
		"log driver journald is not supported":              {Driver: "journald"},
		"logger: no log driver named 'x' is registered":     {Driver: "x"},
		"invalid logging opts for driver none":              {Driver: "none", Options: options("max-size", "1m")},
		"unknown log opt 'nosuch' for json-file log driver": {Options: options("nosuch", "x")},
		"unknown log opt 'compress' for local log driver":   {Driver: "local", Options: options("compress", "true")},
		"invalid max-size: '1k'":                            {Options: options("max-size", "1k")},
		"invalid max-size: '99999999999g'":                  {Options: options("max-size", "99999999999g")},
		"invalid max-size: '-2'":                            {Options: options("max-size", "-2")},
		"invalid max-file: '0'":                             {Options: options("max-file", "0")},
		"invalid max-file: '101'":                           {Options: options("max-file", "101")},
		"invalid max-file: ''":                              {Options: options("max-file", "")},
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
