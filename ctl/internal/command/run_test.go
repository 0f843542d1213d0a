package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
)

const (
	tcp = natv1.Protocol_PROTOCOL_TCP
	udp = natv1.Protocol_PROTOCOL_UDP
)

// plain is the configuration of a container without flags.
func plain(image string, change func(*containerv1.ContainerConfig)) *containerv1.ContainerConfig {
	cfg := &containerv1.ContainerConfig{Image: image, Pull: containerv1.PullPolicy_PULL_POLICY_MISSING,
		Network: &containerv1.NetworkConfig{}, Dns: &containerv1.DnsConfig{}}
	if change != nil {
		change(cfg)
	}
	return cfg
}

func runRequest(attach bool, cfg *containerv1.ContainerConfig) []proto.Message {
	return []proto.Message{&containerv1.RunContainerRequest{Message: &containerv1.RunContainerRequest_Run{
		Run: &containerv1.RunOptions{Config: cfg, Attach: attach}}}}
}

func runs(answers ...proto.Message) clienttest.Script {
	return clienttest.Script{"RunContainer": {clienttest.Answers(answers...)}}
}

func TestRunRequests(t *testing.T) {
	wd := inDir(t, map[string]string{"vars": "F=1\n# no\nHOME\n"})
	started := runs(runStarted("c1c1"))
	checkAll(t, []row{
		{args: "run -d nginx", script: started, stdout: "c1c1\n", requests: runRequest(false, plain("nginx", nil))},
		{args: "container run --detach nginx -d -x", script: started, stdout: "c1c1\n",
			requests: runRequest(false,
				plain("nginx", func(c *containerv1.ContainerConfig) { c.Command = []string{"-d", "-x"} }))},
		{args: "run --name web -d --rm -p 8080:80 -it -w /w -u 1:2 -l a=b -l c --runtime runc --platform " +
			"linux/arm64 --pull always nginx sh",
			script: started, stdout: "c1c1\n", requests: runRequest(false,
				plain("nginx", func(c *containerv1.ContainerConfig) {
					c.Name, c.AutoRemove, c.OpenStdin, c.Tty, c.WorkingDir, c.User = "web", true, true, true, "/w",
						"1:2"
					c.Labels, c.Runtime, c.Platform = map[string]string{"a": "b", "c": ""}, "runc", "linux/arm64"
					c.Pull, c.Command = containerv1.PullPolicy_PULL_POLICY_ALWAYS, []string{"sh"}
					c.Network.Publish = []*natv1.PortMapping{{Protocol: tcp, HostPort: 8080, ContainerPort: 80}}
				}))},
		{args: "run -d -p [::1]:53:53/udp -p 127.0.0.1::80-82 -P --expose 90-91/udp --expose 99 --net none x",
			script: started, stdout: "c1c1\n",
			requests: runRequest(false, plain("x", func(c *containerv1.ContainerConfig) {
				c.Network = &containerv1.NetworkConfig{Mode: "none", PublishAll: true,
					Publish: []*natv1.PortMapping{{Protocol: udp, HostIp: "::1", HostPort: 53, ContainerPort: 53},
						{Protocol: tcp, HostIp: "127.0.0.1", ContainerPort: 80, ContainerPortEnd: 82}},
					Expose: []*containerv1.ExposedPort{{Protocol: udp, Port: 90, PortEnd: 91},
						{Protocol: tcp, Port: 99}}}
			}))},
		{args: "run -d -h docker.test.com --domainname d --dns 1.1.1.1 --dns ::1 --dns-search baidu.com " +
			"--dns-opt ndots:0 --dns-option x " +
			"--add-host qq.com:2.2.2.2 --add-host a=::2 --add-host b:[::3] --add-host h:host-gateway x",
			script: started, stdout: "c1c1\n", requests: runRequest(false,
				plain("x", func(c *containerv1.ContainerConfig) {
					c.Dns = &containerv1.DnsConfig{Hostname: "docker.test.com", Domainname: "d",
						Servers: []string{"1.1.1.1", "::1"},
						Search:  []string{"baidu.com"}, Options: []string{"ndots:0", "x"},
						ExtraHosts: []string{"qq.com:2.2.2.2", "a:::2", "b:::3", "h:host-gateway"}}
				}))},
		{args: "run -d --env-file vars -e A=1 -e HOME -e NOT_SET -v ./d:/d:ro,rslave -v /e:/f --mount " +
			"type=bind,src=.,dst=/g --entrypoint '' x y",
			env: map[string]string{"HOME": "/h"}, script: started, stdout: "c1c1\n",
			requests: runRequest(false, plain("x", func(c *containerv1.ContainerConfig) {
				c.Command, c.Entrypoint = []string{"y"}, []string{""}
				c.Env = []string{"F=1", "HOME=/h", "A=1", "HOME=/h"}
				c.Mounts = []*containerv1.Mount{{Source: wd + "/d", Target: "/d", ReadOnly: true,
					Propagation: "rslave", CreateSource: true},
					{Source: "/e", Target: "/f", CreateSource: true}, {Source: wd, Target: "/g"}}
			}))},
		{args: "run -d --stop-signal USR1 --stop-timeout 0 --entrypoint /bin/x x", script: started, stdout: "c1c1\n",
			requests: runRequest(false, plain("x", func(c *containerv1.ContainerConfig) {
				c.StopSignal, c.StopTimeout, c.Entrypoint = "USR1", proto.Uint32(0), []string{"/bin/x"}
			}))},
	})
}

func TestForegroundRunOutputAndExitCode(t *testing.T) {
	errorOutput := &containerv1.RunContainerResponse{
		Event: &containerv1.RunContainerResponse_Output{Output: stderrOf("oops\n")},
	}
	checkAll(t, []row{
		{args: "run --rm busybox true", script: runs(runStarted("c1"), runExited(0)),
			requests: runRequest(true, plain("busybox", func(c *containerv1.ContainerConfig) {
				c.AutoRemove, c.Command = true, []string{"true"}
			}))},
		{args: "run x", script: runs(runStarted("c1", "no swap limit"), runOutput("hello\n"), errorOutput,
			runExited(7)),
			stdout: "hello\n", stderr: "WARNING: no swap limit\noops\n", code: 7},
		{args: "run x", script: runs(runProgress("resolve image", ""), runProgress("pulling", "x:latest"),
			runProgress("done", "0123456789ab"), runStarted("c1"), runExited(0)),
			stderr: "x:latest: Pulling\n0123456789ab: Done\n"},
		{args: "-D run x", script: runs(runProgress("join network", ""), runStarted("c1"), runExited(0)),
			stderr: "join network\n"},
		{args: "run -q x", script: runs(runProgress("pulling", "x"), runStarted("c1"), runExited(0))},
	})
}

func TestRunForwardsInput(t *testing.T) {
	echo := func(_ proto.Message, s clienttest.Stream) error {
		_ = s.Send(runStarted("c1"))
		for {
			m, err := s.Recv()
			if err != nil {
				return err
			}
			in := m.(*containerv1.RunContainerRequest).GetInput()
			if in.GetStdinClosed() {
				return s.Send(runExited(0))
			}
			_ = s.Send(runOutput(strings.ToUpper(string(in.GetStdin()))))
		}
	}
	check(t, row{args: "run -i x", stdin: "hello", script: clienttest.Script{"RunContainer": {{Serve: echo}}},
		stdout: "HELLO"})
}

func TestRunExitCodesMatchDocker(t *testing.T) {
	fails := func(err error) clienttest.Script { return clienttest.Script{"RunContainer": {clienttest.Fails(err)}} }
	port := fault.New(fault.Busy, "port 0.0.0.0:8080/tcp", "port is already allocated (held by container web)",
		fault.WithReason(fault.ReasonPortAllocated))
	checkAll(t, []row{
		{args: "run -d x", script: fails(port), code: 125,
			stderr: "fairlead: port 0.0.0.0:8080/tcp: port is already allocated (held by container web)\n"},
		{args: "run x nope", script: fails(fault.New(fault.Invalid, "command nope", "not found",
			fault.WithReason(fault.ReasonCommandNotFound))), code: 127,
			stderr: "fairlead: command nope: not found\n"},
		{args: "run x /etc", script: fails(fault.New(fault.Invalid, "command /etc", "is a directory",
			fault.WithReason(fault.ReasonCommandNotExecutable))),
			code: 126, stderr: "fairlead: command /etc: is a directory\n"},
		{args: "run x", script: runs(runStarted("c1")), code: 125,
			stderr: "fairlead: container c1: the agent ended the call before the process ended\n"},
		{args: "run -it x", code: 1, stderr: "fairlead: the input device is not a TTY\n"},
		{args: "run", code: 1, stderr: "fairlead: 'fairlead run' requires at least 1 argument; see 'fairlead run " +
			"--help'\n"},
	})
}

func TestRunRejectsFlagsBeforeRequest(t *testing.T) {
	inDir(t, map[string]string{"bad": "=x\n"})
	for args, want := range map[string]string{
		"--nmae x":         "unknown flag: --nmae; did you mean --name?",
		"--detatch x":      "unknown flag: --detatch; did you mean --detach?",
		"--name":           "flag needs an argument: --name",
		"-p 70000:80 x":    "-p 70000:80: invalid hostPort: 70000",
		"-p 80/foo x":      "-p 80/foo: invalid proto: foo",
		"-p 1.2.3:80:80 x": "-p 1.2.3:80:80: invalid IP address: 1.2.3",
		"-p 8000-8002:80-81 x": "-p 8000-8002:80-81: invalid ranges specified for container and host Ports: " +
			"80-81 and 8000-8002",
		"--expose foo x":       "--expose foo: invalid range format for --expose: foo",
		"--dns foo x":          "--dns foo: IP address is not correctly formatted: foo",
		"--add-host foo x":     `--add-host foo: bad format for add-host: "foo"`,
		"--add-host foo:bar x": `--add-host foo:bar: invalid IP address in add-host: "bar"`,
		"--label =x x":         "--label =x: invalid label '=x': empty name",
		"-e =x x":              "-e =x: invalid environment variable: =x",
		"--env-file bad x":     "--env-file bad: no variable name on line 1: '=x'",
		"--env-file nope x":    "--env-file nope: cannot be read: open nope: no such file or directory",
		"-v data:/d:shared x":  "-v data:/d:shared: invalid mode: shared; use ro or rw, and nocopy",
		"--mount type=bind x":  "--mount type=bind: source is required",
		"--pull sometimes x":   `invalid pull option: 'sometimes': must be one of "always", "missing" or "never"`,
		"--stop-timeout x x":   `invalid argument "x" for "--stop-timeout" flag: must be a number of seconds, or -1 for no limit`,
	} {
		got := execute(t, row{args: "run " + args})
		if stderr := "fairlead: " + want + "; see 'fairlead run --help'\n"; got.stderr != stderr ||
			got.code != 125 || len(got.requests) != 0 {
			t.Errorf("run %s: code %d, stderr %q, want %q", args, got.code, got.stderr, stderr)
		}
	}

	if got := execute(t, row{args: "run --detach-keys foo x"}); got.code != 125 ||
		!strings.Contains(got.stderr, "unknown key 'foo'") {
		t.Errorf("--detach-keys foo: %+v", got)
	}
}

func TestCreatePrintsID(t *testing.T) {
	created := func(id string, warnings ...string) proto.Message {
		return &containerv1.CreateContainerResponse{Event: &containerv1.CreateContainerResponse_Created{
			Created: &containerv1.Created{Id: id, Warnings: warnings}}}
	}
	checkAll(t, []row{
		{args: "create --name a x sh -c y",
			script: clienttest.Script{"CreateContainer": {clienttest.Answers(created("c1", "w"))}},
			stdout: "c1\n", stderr: "WARNING: w\n",
			requests: []proto.Message{&containerv1.CreateContainerRequest{Config: plain("x",
				func(c *containerv1.ContainerConfig) {
					c.Name, c.Command = "a", []string{"sh", "-c", "y"}
				})}}},
		{args: "create x", script: clienttest.Script{"CreateContainer": {clienttest.Fails(fault.NotFoundf("image x",
			"there is none"))}},
			stderr: "fairlead: image x: there is none\n", code: 1},
	})
}

func TestCredentialsOfImageRegistry(t *testing.T) {
	dir := t.TempDir()
	config := `{"auths": {"localhost:5000": {"auth": "dTpw"}}, "credHelpers": {"helped.example": "fake"}}`
	helper := "#!/bin/sh\necho '{\"Username\":\"h\",\"Secret\":\"s\"}'\n"
	for name, text := range map[string]string{"config.json": config, "docker-credential-fake": helper} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}

	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	there := clienttest.Answers(&containerv1.GetImageResponse{Image: &containerv1.Image{Id: "sha256:1"}})
	missing := clienttest.Fails(fault.NotFoundf("image", "there is none"))
	for _, c := range []struct {
		args  string
		image clienttest.Call
		want  *containerv1.Credentials
	}{
		{"run -d localhost:5000/a", there, &containerv1.Credentials{Username: "u", Password: "p"}},
		{"run -d nginx", there, nil},
		{"run -d helped.example/a", there, nil}, // no pull, so the slow helper is not called
		{"run -d helped.example/a", missing, &containerv1.Credentials{Username: "h", Password: "s"}},
		{"run -d --pull always helped.example/a", there, &containerv1.Credentials{Username: "h", Password: "s"}},
		{"run -d --pull never localhost:5000/a", there, nil},
	} {
		got := execute(t, row{args: c.args, env: map[string]string{"DOCKER_CONFIG": dir},
			script: clienttest.Script{"RunContainer": {clienttest.Answers(runStarted("c1"))}, "GetImage": {c.image}}})
		run := got.requests[len(got.requests)-1].(*containerv1.RunContainerRequest).GetRun()
		if got.code != 0 || !proto.Equal(run.GetCredentials(), c.want) {
			t.Errorf("%s: code %d, stderr %s, credentials %v, want %v", c.args, got.code, got.stderr,
				run.GetCredentials(), c.want)
		}
	}
}
