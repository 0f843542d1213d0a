package command_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

var (
	webID = strings.Repeat("a1", 32)
	oldID = strings.Repeat("b2", 32)
)

func web() *containerv1.Container {
	return &containerv1.Container{
		Id: webID, ImageId: "sha256:1", Status: containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING, Pid: 42,
		CreatedAt: ago(3 * time.Hour), StartedAt: ago(90 * time.Second), Args: []string{"/docker-entrypoint.sh",
			"nginx", "-g", "daemon off;"},
		Config: &containerv1.ContainerConfig{Name: "web", Image: "nginx",
			Labels: map[string]string{"tier": "front", "a": "b"}},
		Bindings: []*natv1.PortBinding{{Protocol: udp, HostIp: "0.0.0.0", HostPort: 5353, ContainerPort: 53},
			{Protocol: tcp, HostIp: "192.168.8.115", HostPort: 32768, ContainerPort: 443},
			{Protocol: tcp, HostIp: "::", HostPort: 8080, ContainerPort: 80}, {Protocol: tcp, HostIp: "0.0.0.0",
				HostPort: 8080, ContainerPort: 80}},
		Sandbox: &networkv1.Sandbox{Endpoints: []*networkv1.Endpoint{{NetworkName: "bridge",
			Ipv4Address: "172.17.0.2/16"}}},
	}
}

func old() *containerv1.Container {
	return &containerv1.Container{
		Id: oldID, Status: containerv1.ContainerStatus_CONTAINER_STATUS_EXITED, ExitCode: 3,
		CreatedAt:  ago(50 * time.Hour),
		FinishedAt: ago(49 * time.Hour), Args: []string{"true"}, Config: &containerv1.ContainerConfig{Name: "old",
			Image: "busybox"},
	}
}

func gets(c *containerv1.Container) clienttest.Script {
	return clienttest.Script{"GetContainer": {clienttest.Answers(&containerv1.GetContainerResponse{Container: c})}}
}

func TestPsMatchesDocker(t *testing.T) {
	some := clienttest.Script{"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{
		Containers: []*containerv1.Container{web(), old()}})}}
	all := []proto.Message{&containerv1.ListContainersRequest{All: true, Summary: true}}
	checkAll(t, []row{
		{args: "ps", script: clienttest.Script{"ListContainers": {clienttest.Answers(
			&containerv1.ListContainersResponse{})}},
			requests: []proto.Message{&containerv1.ListContainersRequest{Summary: true}},
			stdout:   "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"},
		{args: "ps -a", script: some, requests: all, stdout: "" +
			"CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS                  PORTS       " +
			"                                                                                  NAMES\n" +
			"a1a1a1a1a1a1   nginx     \"/docker-entrypoint.…\"   3 hours ago   Up About a minute       " +
			"0.0.0.0:5353->53/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 192.168.8.115:32768->443/tcp   web\n" +
			"b2b2b2b2b2b2   busybox   \"true\"                   2 days ago    Exited (3) 2 days ago             " +
			"                                                                                    old\n"},
		{args: "container ls -aq", script: some, stdout: "a1a1a1a1a1a1\nb2b2b2b2b2b2\n"},
		{args: "ps -q --no-trunc", script: some, stdout: webID + "\n" + oldID + "\n"},
		{args: "ps --format '{{.Names}}: {{.State}} {{.Label \"tier\"}} {{.Labels}}'", script: some,
			stdout: "web: running front a=b,tier=front\nold: exited  \n"},
		{args: "ps --format 'table {{.ID}}\\t{{.Names}}'", script: some,
			stdout: "CONTAINER ID   NAMES\na1a1a1a1a1a1   web\nb2b2b2b2b2b2   old\n"},
		{args: "ps --format '{{.Nothing}}'", script: some, code: 1,
			stderr: "fairlead: --format: invalid template: template: format:1:2: executing \"format\" at " +
				"<.Nothing>: can't evaluate field Nothing in type ps.row\n"},
		{args: "ps -q --filter name=^we --filter label=tier=front", script: some,
			stdout: "a1a1a1a1a1a1\nb2b2b2b2b2b2\n",
			requests: []proto.Message{&containerv1.ListContainersRequest{Summary: true, Filters: []string{"name=^we",
				"label=tier=front"}}}},
		{args: "ps --filter status=asleep", code: 1, script: clienttest.Script{"ListContainers": {clienttest.Fails(
			fault.Invalidf("filter status=asleep", "filters", "invalid filter"))}},
			stderr: "fairlead: --filter status=asleep: invalid filter; see 'fairlead ps --help'\n"},
		{args: "ps -s --format {{.Size}}", script: clienttest.Script{"ListContainers": {clienttest.Answers(
			&containerv1.ListContainersResponse{Containers: []*containerv1.Container{{SizeRw: proto.Int64(2000),
				SizeRootFs: proto.Int64(3_000_000)}}})}}, stdout: "2kB (virtual 3MB)\n",
			requests: []proto.Message{&containerv1.ListContainersRequest{Size: true, Summary: true}}},
		{args: "ps x", code: 1, stderr: "fairlead: 'fairlead ps' requires no arguments; see 'fairlead ps --help'\n"},
	})
	got := execute(t, row{args: "ps --format json", script: some})
	for _, want := range []string{`"Command":"\"/docker-entrypoint.…\""`, `"ID":"a1a1a1a1a1a1"`, `"State":"running"`, `"Networks":"bridge"`, `0.0.0.0:8080->80/tcp`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("%s is not in %s", want, got.stdout)
		}
	}
}

func TestPortMatchesDocker(t *testing.T) {
	checkAll(t, []row{
		{args: "port web", script: gets(web()),
			stdout: "53/udp -> 0.0.0.0:5353\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n443/tcp -> " +
				"192.168.8.115:32768\n"},
		{args: "container port web 80", script: gets(web()), stdout: "0.0.0.0:8080\n[::]:8080\n"},
		{args: "port web 53/udp", script: gets(web()), stdout: "0.0.0.0:5353\n"},
		{args: "port web 53", script: gets(web()), stderr: "Error: No public port '53' published for web\n", code: 1},
		{args: "port old 80/tcp", script: gets(old()), stderr: "Error: No public port '80/tcp' published for old\n",
			code: 1},
		{args: "port old", script: gets(old())},
		{args: "port web http", stderr: "Error: invalid port (http)\n", code: 1},
		{args: "port nope", script: clienttest.Script{"GetContainer": {clienttest.Fails(
			fault.NotFoundf("container nope", "No such container"))}},
			stderr: "fairlead: container nope: No such container\n", code: 1},
		{args: "port", stderr: "fairlead: 'fairlead port' requires 1 to 2 arguments; see 'fairlead port --help'\n",
			code: 1},
	})
}

func TestOneFailureDoesNotStopOtherContainers(t *testing.T) {
	missing := fault.NotFoundf("container b", "No such container")
	// by returns a response for each container name.
	by := func(answer proto.Message) clienttest.Call {
		return clienttest.Call{Serve: func(first proto.Message, s clienttest.Stream) error {
			if first.(interface{ GetReference() string }).GetReference() == "b" {
				return missing
			}
			return s.Send(answer)
		}}
	}
	failed := row{stdout: "a\nc\n", stderr: "fairlead: container b: No such container\n", code: 1}
	for args, call := range map[string]map[string]clienttest.Call{
		"stop a b c":         {"StopContainer": by(&containerv1.StopContainerResponse{})},
		"kill a b c":         {"KillContainer": by(&containerv1.KillContainerResponse{})},
		"rm a b c":           {"RemoveContainer": by(&containerv1.RemoveContainerResponse{})},
		"container rm a b c": {"RemoveContainer": by(&containerv1.RemoveContainerResponse{})},
		"start a b c":        {"StartContainer": by(&containerv1.StartContainerResponse{})},
	} {
		r := failed
		r.args, r.script = args, clienttest.Script{}
		for method, c := range call {
			r.script[method] = []clienttest.Call{c}
		}
		check(t, r)
	}

	check(t, row{args: "rm -f a b c",
		script: clienttest.Script{"RemoveContainer": {by(&containerv1.RemoveContainerResponse{})}},
		stdout: "a\nc\n", stderr: "fairlead: container b: No such container\n"})
	check(t, row{args: "wait a b c",
		script: clienttest.Script{"WaitContainer": {by(&containerv1.WaitContainerResponse{ExitCode: 137})}},
		stdout: "137\n137\n", stderr: "fairlead: container b: No such container\n", code: 1})
}

func TestCommandRequests(t *testing.T) {
	stop := clienttest.Script{"StopContainer": {clienttest.Answers(&containerv1.StopContainerResponse{})}}
	one := func(m proto.Message) []proto.Message { return []proto.Message{m} }
	checkAll(t, []row{
		{args: "stop a", script: stop, stdout: "a\n", requests: one(&containerv1.StopContainerRequest{Reference: "a"})},
		{args: "stop -t 0 -s HUP a", script: stop, stdout: "a\n",
			requests: one(&containerv1.StopContainerRequest{Reference: "a", TimeoutSeconds: proto.Uint32(0),
				Signal: "HUP"})},
		{args: "restart -t 0 -s HUP a", stdout: "a\n", stderr: "WARNING: one\nWARNING: two\n",
			script: clienttest.Script{"RestartContainer": {clienttest.Answers(
				&containerv1.RestartContainerResponse{Warnings: []string{"one", "two"}})}},
			requests: one(&containerv1.RestartContainerRequest{Reference: "a", TimeoutSeconds: proto.Uint32(0),
				Signal: "HUP"})},
		{args: "start a", stdout: "a\n", stderr: "WARNING: one\n",
			script: clienttest.Script{"StartContainer": {clienttest.Answers(
				&containerv1.StartContainerResponse{Warnings: []string{"one"}})}},
			requests: one(&containerv1.StartContainerRequest{Reference: "a"})},
		{args: "publish a 8080:80", stdout: "80/tcp -> 0.0.0.0:8080\n", stderr: "WARNING: one\n",
			script: clienttest.Script{"PublishPorts": {clienttest.Answers(
				&containerv1.PublishPortsResponse{Warnings: []string{"one"},
					Bindings: []*natv1.PortBinding{{Protocol: natv1.Protocol_PROTOCOL_TCP, HostIp: "0.0.0.0",
						HostPort: 8080, ContainerPort: 80}}})}}},
		{args: "stop --time 3 a", script: stop, stdout: "a\n",
			requests: one(&containerv1.StopContainerRequest{Reference: "a", TimeoutSeconds: proto.Uint32(3)})},
		{args: "kill -s USR1 a",
			script:   clienttest.Script{"KillContainer": {clienttest.Answers(&containerv1.KillContainerResponse{})}},
			stdout:   "a\n",
			requests: one(&containerv1.KillContainerRequest{Reference: "a", Signal: "USR1"})},
		{args: "rm -f a", script: clienttest.Script{"RemoveContainer": {clienttest.Answers(
			&containerv1.RemoveContainerResponse{})}}, stdout: "a\n",
			requests: one(&containerv1.RemoveContainerRequest{Reference: "a", Force: true})},
	})
}

func logLine(out *containerv1.Output) proto.Message {
	return &containerv1.ReadLogsResponse{Output: out, Time: timestamppb.New(time.Unix(1_790_000_000, 5000))}
}

func TestLogsPrintStreams(t *testing.T) {
	some := clienttest.Script{"ReadLogs": {clienttest.Answers(logLine(stdoutOf("one\ntw")),
		logLine(stderrOf("bad\n")), logLine(stdoutOf("o\nthree\n")))}}
	const stamp = "2026-09-21T14:13:20.000005000Z "
	requests := func(change func(*containerv1.ReadLogsRequest)) []proto.Message {
		r := &containerv1.ReadLogsRequest{Reference: "web", Joined: true}
		change(r)
		return []proto.Message{r}
	}
	checkAll(t, []row{
		{args: "logs web", script: some, stdout: "one\ntwo\nthree\n", stderr: "bad\n",
			requests: requests(func(*containerv1.ReadLogsRequest) {})},
		{args: "logs -t web", script: some, stdout: stamp + "one\n" + stamp + "two\n" + stamp + "three\n",
			stderr: stamp + "bad\n"},
		{args: "logs -f -n 5 --since 42m web", script: some, stdout: "one\ntwo\nthree\n", stderr: "bad\n",
			requests: requests(func(r *containerv1.ReadLogsRequest) {
				r.Follow, r.Tail, r.Since = true, proto.Uint32(5), ago(42*time.Minute)
			})},
		{args: "logs --tail all --since 2026-09-21T10:00:00Z web", script: some, stdout: "one\ntwo\nthree\n",
			stderr: "bad\n",
			requests: requests(func(r *containerv1.ReadLogsRequest) {
				r.Since = timestamppb.New(time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC))
			})},
		{args: "logs --since 1790000000 web", script: some, stdout: "one\ntwo\nthree\n", stderr: "bad\n",
			requests: requests(func(r *containerv1.ReadLogsRequest) { r.Since = timestamppb.New(now) })},
		{args: "logs --tail x web", code: 1,
			stderr: "fairlead: --tail x: must be a number or all; see 'fairlead logs --help'\n"},
		{args: "logs --since x web", code: 1, stderr: "fairlead: --since x: not a time; see 'fairlead logs --help'\n"},
		{args: "logs nope", script: clienttest.Script{"ReadLogs": {clienttest.Fails(fault.NotFoundf("container nope",
			"No such container"))}}, code: 1,
			stderr: "fairlead: container nope: No such container\n"},
	})
}

func execEvents(code uint32) clienttest.Script {
	return clienttest.Script{"ExecContainer": {clienttest.Answers(
		&containerv1.ExecContainerResponse{
			Event: &containerv1.ExecContainerResponse_Started{Started: &containerv1.Started{Id: webID}},
		},
		&containerv1.ExecContainerResponse{Event: &containerv1.ExecContainerResponse_Output{Output: stdoutOf("out\n")}},
		&containerv1.ExecContainerResponse{
			Event: &containerv1.ExecContainerResponse_Exited{Exited: &containerv1.Exited{ExitCode: code}},
		})}}
}

func execRequest(o *containerv1.ExecOptions) []proto.Message {
	return []proto.Message{&containerv1.ExecContainerRequest{Message: &containerv1.ExecContainerRequest_Exec{Exec: o}}}
}

func TestExec(t *testing.T) {
	fails := func(reason string) clienttest.Script {
		return clienttest.Script{"ExecContainer": {clienttest.Fails(fault.New(fault.Invalid, "command x", "no",
			fault.WithReason(reason)))}}
	}
	checkAll(t, []row{
		{args: "exec web ls -l", script: execEvents(4), stdout: "out\n", code: 4,
			requests: execRequest(&containerv1.ExecOptions{Reference: "web", Args: []string{"ls", "-l"}})},
		{args: "exec -i -e A=1 -w /w -u 1 web sh", script: execEvents(0), stdout: "out\n",
			requests: execRequest(&containerv1.ExecOptions{Reference: "web", Args: []string{"sh"},
				Env: []string{"A=1"}, WorkingDir: "/w", User: "1", OpenStdin: true})},
		{args: "exec -dit web sleep 9", script: execEvents(0),
			requests: execRequest(&containerv1.ExecOptions{Reference: "web", Args: []string{"sleep", "9"}, Tty: true,
				Detach: true})},
		{args: "exec web x", script: fails(fault.ReasonCommandNotFound), stderr: "fairlead: command x: no\n",
			code: 127},
		{args: "exec web x", script: fails(fault.ReasonCommandNotExecutable), stderr: "fairlead: command x: no\n",
			code: 126},
		{args: "exec web x", script: fails(""), stderr: "fairlead: command x: no\n", code: 1},
		{args: "exec -it web sh", stderr: "fairlead: the input device is not a TTY\n", code: 1},
		{args: "exec -e = web sh",
			stderr: "fairlead: -e =: invalid environment variable: =; see 'fairlead exec --help'\n", code: 125},
		{args: "exec web", stderr: "fairlead: 'fairlead exec' requires at least 2 arguments; see 'fairlead exec " +
			"--help'\n", code: 1},
	})
}

func TestAttachAndStart(t *testing.T) {
	attached := clienttest.Answers(
		&containerv1.AttachContainerResponse{
			Event: &containerv1.AttachContainerResponse_Started{Started: &containerv1.Started{Id: webID}},
		},
		&containerv1.AttachContainerResponse{
			Event: &containerv1.AttachContainerResponse_Output{Output: stdoutOf("out\n")},
		},
		&containerv1.AttachContainerResponse{
			Event: &containerv1.AttachContainerResponse_Exited{Exited: &containerv1.Exited{ExitCode: 9}},
		})
	script := func(c *containerv1.Container) clienttest.Script {
		s := gets(c)
		s["AttachContainer"] = []clienttest.Call{attached}
		return s
	}
	requests := func(reference, id string, start bool) []proto.Message {
		return []proto.Message{&containerv1.GetContainerRequest{Reference: reference},
			&containerv1.AttachContainerRequest{Message: &containerv1.AttachContainerRequest_Attach{
				Attach: &containerv1.AttachOptions{Reference: id, Start: start}}}}
	}
	tty := web()
	tty.Config.Tty, tty.Config.OpenStdin = true, true
	checkAll(t, []row{
		{args: "attach web", script: script(web()), stdout: "out\n", code: 9, requests: requests("web", webID, false)},
		{args: "attach old", script: script(old()),
			stderr: "fairlead: container old: cannot attach to a stopped container; start it first\n", code: 1},
		{args: "attach web", script: script(tty), stderr: "fairlead: the input device is not a TTY\n", code: 1},
		{args: "attach --no-stdin web", script: script(tty), stdout: "out\n", code: 9},
		{args: "start -a old", script: script(old()), stdout: "out\n", code: 9, requests: requests("old", oldID, true)},
		{args: "start -i old", script: script(old()), stdout: "out\n", code: 9},
		{args: "start -a a b", stderr: "fairlead: you cannot start and attach multiple containers at once\n", code: 1},
	})
}

func TestInspectSearchOrder(t *testing.T) {
	missing := clienttest.Fails(fault.NotFoundf("x", "there is none"))
	image := clienttest.Answers(&containerv1.GetImageResponse{Image: &containerv1.Image{Id: "sha256:1",
		Tags:   []string{"nginx:latest"},
		Config: []byte(`{"config":{"Cmd":["nginx"]}}`)}})
	network := clienttest.Answers(&networkv1.GetNetworkResponse{Network: &networkv1.Network{Name: "bridge",
		Driver: "bridge"}})
	container := clienttest.Answers(&containerv1.GetContainerResponse{Container: web()})
	script := func(c, i, n clienttest.Call) clienttest.Script {
		return clienttest.Script{"GetContainer": {c}, "GetImage": {i}, "GetNetwork": {n}, "GetVolume": {missing}}
	}
	checkAll(t, []row{
		{args: "inspect -f '{{.Name}} {{.State.Running}} {{.State.Pid}} " +
			"{{.NetworkSettings.Networks.bridge.IPAddress}} {{json .Config.Cmd}}' web",
			script: script(container, image, missing), stdout: "/web true 42 172.17.0.2 [\"nginx\"]\n"},
		{args: "inspect -f '{{.Id}} {{.HostConfig.Dns}} {{(index (index .NetworkSettings.Ports \"80/tcp\") " +
			"0).HostPort}}' web",
			script: script(container, missing, missing), stdout: webID + " [] 8080\n"},
		{args: "inspect -f '{{.RepoTags}}' nginx", script: script(missing, image, missing), stdout: "[nginx:latest]\n"},
		{args: "inspect -f '{{.Driver}}' bridge", script: script(missing, missing, network), stdout: "bridge\n"},
		{args: "inspect --type network -f '{{.Name}}' bridge", script: script(container, image, network),
			stdout: "bridge\n"},
		{args: "inspect --type image x", script: script(container, missing, network), stdout: "[]\n",
			stderr: "fairlead: x: there is none\n", code: 1},
		{args: "inspect nope", script: script(missing, missing, missing), stdout: "[]\n", code: 1,
			stderr: "fairlead: object nope: No such object: no container, image, network or volume has this name " +
				"or ID\n"},
		{args: "container inspect -f '{{.Nothing}}' web", script: script(container, image, missing), code: 1,
			stderr: "fairlead: --format: invalid template: template: format:1:2: executing \"format\" at " +
				"<.Nothing>: can't evaluate field Nothing in type *inspect.Container\n"},
		{args: "inspect --type node x", code: 1,
			stderr: "fairlead: \"node\" is not a valid value for --type: container, image, network or volume; " +
				"see 'fairlead inspect --help'\n"},
	})
	got := execute(t, row{args: "container inspect web web", script: script(container, image, missing)})
	if !strings.HasPrefix(got.stdout, "[\n    {\n        \"Id\": \""+webID) || strings.Count(got.stdout, `"Name": "/web"`) != 2 || got.code != 0 {
		t.Errorf("%+v", got)
	}
}
