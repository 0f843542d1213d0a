package change_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/healthcheck"
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
	of := func(c ocispec.ImageConfig) change.Config { return change.Config{ImageConfig: c} }
	for _, tc := range []struct {
		changes []string
		want    change.Config
	}{
		{[]string{`CMD ["nginx", "-g", "daemon off;"]`}, of(ocispec.ImageConfig{Cmd: []string{"nginx", "-g", "daemon off;"}})},
		{[]string{`cmd nginx -g 'daemon off;'`}, of(ocispec.ImageConfig{Cmd: []string{"/bin/sh", "-c", "nginx -g 'daemon off;'"}})},
		{[]string{`CMD [ -f /x ] && true`}, of(ocispec.ImageConfig{Cmd: []string{"/bin/sh", "-c", "[ -f /x ] && true"}})},
		{[]string{`ENTRYPOINT ["/bin/a"]`, `CMD []`}, of(ocispec.ImageConfig{Entrypoint: []string{"/bin/a"}, Cmd: []string{}})},
		{[]string{`ENV A=1 B="two words" C='x\y' D=a\ b E=`, `ENV A=2`, `ENV OLD some  words "q"`},
			of(ocispec.ImageConfig{Env: []string{"A=2", "B=two words", `C=x\y`, "D=a b", "E=", `OLD=some  words "q"`}})},
		{[]string{"EXPOSE 80 443/tcp 53/UDP", "EXPOSE 9000-9002/sctp"},
			of(ocispec.ImageConfig{ExposedPorts: ports("80/tcp", "443/tcp", "53/udp", "9000/sctp", "9001/sctp",
				"9002/sctp")})},
		{[]string{`LABEL a=b "c d"="e f"`}, of(ocispec.ImageConfig{Labels: map[string]string{"a": "b", "c d": "e f"}})},
		{[]string{"USER 101:101", "WORKDIR /srv", "WORKDIR app/../www", "STOPSIGNAL SIGQUIT"},
			of(ocispec.ImageConfig{User: "101:101", WorkingDir: "/srv/www", StopSignal: "SIGQUIT"})},
		{[]string{`CMD ["old"]`, `ENTRYPOINT ["/a"]`}, of(ocispec.ImageConfig{Entrypoint: []string{"/a"}, Cmd: []string{"old"}})},
		{[]string{"HEALTHCHECK --interval=5s --retries=2 CMD true && x", "ONBUILD RUN make", "ONBUILD COPY . ."},
			change.Config{OnBuild: []string{"RUN make", "COPY . ."}, Healthcheck: &healthcheck.Check{
				Test: []string{"CMD-SHELL", "true && x"}, Interval: 5 * time.Second, Retries: 2}}},
		{[]string{`healthcheck CMD ["a", "b"]`}, change.Config{Healthcheck: &healthcheck.Check{
			Test: []string{"CMD", "a", "b"}}}},
		{[]string{"HEALTHCHECK NONE"}, change.Config{Healthcheck: &healthcheck.Check{Test: []string{"NONE"}}}},
	} {
		var got change.Config
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
		"HEALTHCHECK true", "HEALTHCHECK CMD", "HEALTHCHECK --interval=1 CMD x", "HEALTHCHECK --interval=1us CMD x",
		"HEALTHCHECK --nope=1s CMD x", "HEALTHCHECK --retries=-1 CMD x", "ONBUILD FROM x", "ONBUILD onbuild RUN x",
	} {
		me := ocispec.ImageConfig{Env: []string{"A=0"}, User: "me"}
		c, before := change.Config{ImageConfig: me}, change.Config{ImageConfig: me}
		if err := change.Apply(&c, []string{"ENV A=1", "USER you", bad}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want an Invalid fault", bad, err)
		}
		if d := cmp.Diff(before, c); d != "" {
			t.Errorf("%q changed the configuration:\n%s", bad, d)
		}
	}
}

// A new entrypoint drops the arguments of the previous one, as in Docker.
func TestEntrypointDropsCommand(t *testing.T) {
	c := change.Config{ImageConfig: ocispec.ImageConfig{Entrypoint: []string{"/old"}, Cmd: []string{"argument"}}}
	if err := change.Apply(&c, []string{`ENTRYPOINT ["/new"]`}); err != nil || len(c.Cmd) > 0 || c.Entrypoint[0] != "/new" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func FuzzApply(f *testing.F) {
	for _, s := range []string{`ENV A="b c" d=e`, `CMD ["x"]`, "EXPOSE 1-2/udp", `LABEL "a b"=c`, "WORKDIR ..", `ENV a '`,
		"HEALTHCHECK --interval=1s CMD x", "ONBUILD RUN x"} {
		f.Add(s)
	}

	f.Fuzz(func(t *testing.T, s string) {
		var c change.Config
		if err := change.Apply(&c, []string{s}); err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: got %v, want an Invalid fault", s, err)
			}
			if d := cmp.Diff(change.Config{}, c); d != "" {
				t.Errorf("%q was rejected but changed the configuration:\n%s", s, d)
			}
		}

		if c.WorkingDir != "" && c.WorkingDir[0] != '/' {
			t.Errorf("%q: got working directory %q", s, c.WorkingDir)
		}
	})
}
