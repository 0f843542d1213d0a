package change_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/image/change"
)

func TestApplyInstructions(t *testing.T) {
	ports := func(ps ...string) map[string]struct{} {
		m := map[string]struct{}{}
		for _, p := range ps {
			m[p] = struct{}{}
		}
		return m
	}
	for _, tc := range []struct {
		changes []string
		want    ocispec.ImageConfig
	}{
		{[]string{`CMD ["nginx", "-g", "daemon off;"]`}, ocispec.ImageConfig{Cmd: []string{"nginx", "-g", "daemon off;"}}},
		{[]string{`cmd nginx -g 'daemon off;'`}, ocispec.ImageConfig{Cmd: []string{"/bin/sh", "-c", "nginx -g 'daemon off;'"}}},
		{[]string{`CMD [ -f /x ] && true`}, ocispec.ImageConfig{Cmd: []string{"/bin/sh", "-c", "[ -f /x ] && true"}}},
		{[]string{`ENTRYPOINT ["/bin/a"]`, `CMD []`}, ocispec.ImageConfig{Entrypoint: []string{"/bin/a"}, Cmd: []string{}}},
		{[]string{`ENV A=1 B="two words" C='x\y' D=a\ b E=`, `ENV A=2`, `ENV OLD some  words "q"`},
			ocispec.ImageConfig{Env: []string{"A=2", "B=two words", `C=x\y`, "D=a b", "E=", `OLD=some  words "q"`}}},
		{[]string{"EXPOSE 80 443/tcp 53/UDP", "EXPOSE 9000-9002/sctp"},
			ocispec.ImageConfig{ExposedPorts: ports("80/tcp", "443/tcp", "53/udp", "9000/sctp", "9001/sctp",
				"9002/sctp")}},
		{[]string{`LABEL a=b "c d"="e f"`}, ocispec.ImageConfig{Labels: map[string]string{"a": "b", "c d": "e f"}}},
		{[]string{"USER 101:101", "WORKDIR /srv", "WORKDIR app/../www", "STOPSIGNAL SIGQUIT"},
			ocispec.ImageConfig{User: "101:101", WorkingDir: "/srv/www", StopSignal: "SIGQUIT"}},
	} {
		var got ocispec.ImageConfig
		if err := change.Apply(&got, tc.changes); err != nil {
			t.Errorf("%q: %v", tc.changes, err)
		} else if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", tc.changes, d)
		}
	}
}

func TestApplyRejectsInvalidInstruction(t *testing.T) {
	for _, bad := range []string{
		"", "RUN true", "CMD", "ENV", "ENV A", "ENV =x", `ENV A="x`, "EXPOSE x", "EXPOSE 80/icmp", "EXPOSE 0", "EXPOSE 90-80",
		"EXPOSE 70000", `LABEL a=b c`, `ENV A=b\`, "USER a\x00b", "STOPSIGNAL SIGNOPE",
	} {
		c := ocispec.ImageConfig{Env: []string{"A=0"}, User: "me"}
		before := ocispec.ImageConfig{Env: []string{"A=0"}, User: "me"}
		if err := change.Apply(&c, []string{"ENV A=1", "USER you", bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want an Invalid fault", bad, err)
		}
		if d := cmp.Diff(before, c); d != "" {
			t.Errorf("%q changed the configuration:\n%s", bad, d)
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, s := range []string{`ENV A="b c" d=e`, `CMD ["x"]`, "EXPOSE 1-2/udp", `LABEL "a b"=c`, "WORKDIR ..", `ENV a '`} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		var c ocispec.ImageConfig
		if err := change.Apply(&c, []string{s}); err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: got %v, want an Invalid fault", s, err)
			}
			if d := cmp.Diff(ocispec.ImageConfig{}, c); d != "" {
				t.Errorf("%q was rejected but changed the configuration:\n%s", s, d)
			}
		}

		if c.WorkingDir != "" && c.WorkingDir[0] != '/' {
			t.Errorf("%q: got working directory %q", s, c.WorkingDir)
		}
	})
}
