package command_test

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/proto/fault"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func TestStopHasNoLimitWithMinusOne(t *testing.T) {
	stopped := clienttest.Script{"StopContainer": {clienttest.Answers(&containerv1.StopContainerResponse{})}}
	checkAll(t, []row{
		{args: "stop -t -1 a", script: stopped, stdout: "a\n",
			requests: []proto.Message{&containerv1.StopContainerRequest{Reference: "a",
				TimeoutSeconds: proto.Uint32(math.MaxUint32)}}},
		{args: "stop --time=0 a", script: stopped, stdout: "a\n",
			requests: []proto.Message{&containerv1.StopContainerRequest{Reference: "a",
				TimeoutSeconds: proto.Uint32(0)}}},
		{args: "stop -t -2 a", code: 125, requests: []proto.Message{},
			stderr: "fairlead: invalid argument \"-2\" for \"-t, --timeout\" flag: must be a number of seconds, " +
				"or -1 for no limit; see 'fairlead stop --help'\n"},
	})
	c := &containerv1.Container{Config: &containerv1.ContainerConfig{StopTimeout: proto.Uint32(math.MaxUint32)}}
	checkAll(t, []row{{args: "container inspect -f '{{.Config.StopTimeout}}' a", script: got(c), stdout: "-1\n"}})
}

// got returns an agent with one container.
func got(c *containerv1.Container) clienttest.Script {
	return clienttest.Script{"GetContainer": {clienttest.Answers(&containerv1.GetContainerResponse{Container: c})},
		"GetImage": {clienttest.Answers(&containerv1.GetImageResponse{})}}
}

func TestInspectHasDockerFields(t *testing.T) {
	c := &containerv1.Container{Config: &containerv1.ContainerConfig{
		Resources: &containerv1.Resources{NanoCpus: 1_500_000_000}}}
	for template, want := range map[string]string{
		"{{.HostConfig.NanoCpus}}": "1500000000", "{{.HostConfig.NanoCPUs}}": "1500000000",
		"{{.RestartCount}}": "0", "{{.State.Health.Status}}": "none", "{{.State.Paused}}": "false",
		"{{.HostConfig.RestartPolicy.Name}}":              "no",
		"{{.HostConfig.RestartPolicy.MaximumRetryCount}}": "0", "{{.Config.Volumes}}": "map[]",
		"{{.GraphDriver.Name}}":  "overlay",
		"{{.HostConfig.Memory}}": "0", "{{.HostConfig.Privileged}}": "false", "{{json .State.Health}}": `{"Status":"none","FailingStreak":0,"Log":[]}`,
	} {
		check(t, row{args: "inspect -f '" + template + "' a", script: got(c), stdout: want + "\n"})
	}
}

func TestImagePatternsAndFilters(t *testing.T) {
	checkAll(t, []row{
		{args: "images -q 'ngi*'", script: images(), stdout: "111111111111\n"},
		{args: "images -q 'ngi*:lat*'", script: images(), stdout: "111111111111\n"},
		{args: "images --format {{.Tag}} 'localhost:5000/*'", script: images(), stdout: "1\n"},
		{args: "images -q 'red*'", script: images()},
		{args: "images -aq -f dangling=true -f reference=x", script: images(), stdout: "111111111111\n222222222222\n",
			requests: []proto.Message{&containerv1.ListImagesRequest{Filters: []string{"dangling=true",
				"reference=x"}}}},
		{args: "images -f before=x", code: 1, script: clienttest.Script{"ListImages": {clienttest.Fails(
			fault.NotFoundf("filter before=x", "No such image: x"))}},
			stderr: "fairlead: --filter before=x: No such image: x\n"},
	})
	if got := execute(t, row{args: "images --digests nginx", script: images()}); !strings.Contains(got.stdout,
		"TAG       DIGEST") ||
		!strings.Contains(got.stdout, "sha256:"+strings.Repeat("d", 64)) {
		t.Errorf("got %s", got.stdout)
	}
}

func TestPsLastAndLatest(t *testing.T) {
	list := clienttest.Script{"ListContainers": {clienttest.Answers(
		&containerv1.ListContainersResponse{Containers: []*containerv1.Container{
			{Id: "cccccccccccc1", Config: &containerv1.ContainerConfig{}, Args: []string{"sh", "-c", "echo 'a b'"}},
			{Id: "bbbbbbbbbbbb1", Config: &containerv1.ContainerConfig{}},
		}})}}
	limit := func(n uint32) []proto.Message {
		return []proto.Message{&containerv1.ListContainersRequest{Limit: n, Summary: true}}
	}
	checkAll(t, []row{
		{args: "ps -lq", script: list, stdout: "cccccccccccc\n", requests: limit(1)},
		{args: "ps -n 5 -q", script: list, stdout: "cccccccccccc\nbbbbbbbbbbbb\n", requests: limit(5)},
		{args: "ps -l --no-trunc --format {{.Command}}", script: list, stdout: `"sh -c 'echo 'a b''"` + "\n"},
	})
}

func TestRmAcceptsVolumesFlag(t *testing.T) {
	checkAll(t, []row{{args: "rm -fv a",
		script: clienttest.Script{"RemoveContainer": {clienttest.Answers(&containerv1.RemoveContainerResponse{})}},
		stdout: "a\n", requests: []proto.Message{&containerv1.RemoveContainerRequest{Reference: "a", Force: true,
			Volumes: true}}}})
}

func TestLogsAreFilteredByAgent(t *testing.T) {
	script := clienttest.Script{"ReadLogs": {clienttest.Answers(&containerv1.ReadLogsResponse{Time: ago(0),
		Output: stdoutOf("a\nb\n"), Details: "k=v"})}}
	checkAll(t, []row{
		{args: "logs --until 5m --since 9m --stream stderr a", script: script, stdout: "a\nb\n",
			requests: []proto.Message{&containerv1.ReadLogsRequest{Reference: "a", Since: ago(9 * time.Minute),
				Until: ago(5 * time.Minute), Stream: containerv1.StreamKind_STREAM_KIND_STDERR, Joined: true}}},
		{args: "logs -f --details a", script: script, stdout: "k=v a\nk=v b\n",
			requests: []proto.Message{&containerv1.ReadLogsRequest{Reference: "a", Follow: true, Details: true}}},
		{args: "logs --until never a", code: 1,
			stderr: "fairlead: --until never: not a time; see 'fairlead logs --help'\n"},
		{args: "logs --stream both a", code: 1,
			stderr: "fairlead: --stream both: must be stdout or stderr; see 'fairlead logs --help'\n"},
	})
}

func TestCIDFile(t *testing.T) {
	inDir(t, map[string]string{"labels": "# of the team\ntier=front\nowner\n"})
	created := clienttest.Script{"CreateContainer": {clienttest.Answers(&containerv1.CreateContainerResponse{
		Event: &containerv1.CreateContainerResponse_Created{Created: &containerv1.Created{Id: "c1"}}})}}
	result := execute(t, row{args: "create --cidfile id --label-file labels -l tier=back x", script: created})
	labels := result.requests[0].(*containerv1.CreateContainerRequest).GetConfig().GetLabels()
	if text, _ := os.ReadFile("id"); string(text) != "c1" || labels["tier"] != "back" || len(labels) != 2 {
		t.Errorf("got %q, %v", text, labels)
	}

	checkAll(t, []row{
		{args: "create --cidfile id x", code: 1, requests: []proto.Message{},
			stderr: "fairlead: --cidfile id: cannot be created: file exists; name a file that does not exist\n"},
		{args: "run -d --cidfile new x", script: runs(runStarted("c2")), stdout: "c2\n"},
	})
	if text, _ := os.ReadFile("new"); string(text) != "c2" {
		t.Errorf("got %q", text)
	}

	execute(t, row{args: "run -d --cidfile none x"})
	if _, err := os.Stat("none"); err == nil {
		t.Error("a file is left of a container that was not created")
	}
}

func TestDoctorGroupsFindingsByArea(t *testing.T) {
	finding := func(area, name string) *hostv1.Finding {
		return &hostv1.Finding{Area: area, Name: name, Severity: hostv1.Severity_SEVERITY_OK, Message: "works"}
	}
	one := clienttest.Call{Serve: func(first proto.Message, s clienttest.Stream) error {
		switch first.(type) {
		case *networkv1.DiagnoseRequest:
			return s.Send(&networkv1.DiagnoseResponse{Findings: []*hostv1.Finding{finding("host", "a"),
				finding("others", "b")}})
		case *natv1.DiagnoseRequest:
			return s.Send(&natv1.DiagnoseResponse{Findings: []*hostv1.Finding{finding("firewall", "c"),
				finding("others", "d")}})
		}
		return s.Send(&hostv1.DiagnoseResponse{Findings: []*hostv1.Finding{finding("host", "e")}})
	}}
	checkAll(t, []row{{args: "doctor", script: clienttest.Script{"Diagnose": {one}}, stdout: "" +
		"Host\n  ok       a                  works\n  ok       e                  works\n" +
		"Others\n  ok       b                  works\n  ok       d                  works\n" +
		"Firewall\n  ok       c                  works\n5 ok, 0 notes, 0 problems\n"}})
}

func TestConfigCheckDefaultFile(t *testing.T) {
	var out, errs bytes.Buffer
	command.Run(t.Context(), newCLI(t, nil, strings.NewReader(""), &out, &errs, ""), []string{"config", "check"})
	if !strings.Contains(out.String()+errs.String(), "/etc/fairlead/daemon.json") {
		t.Errorf("got %q, %q", out.String(), errs.String())
	}
}

func TestTemplateFields(t *testing.T) {
	list := clienttest.Script{"ListContainers": {clienttest.Answers(
		&containerv1.ListContainersResponse{Containers: []*containerv1.Container{old()}})}}
	info := clienttest.Script{"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{DataRoot: "/d"})}}
	checkAll(t, []row{
		{args: "ps -a --format '{{.Size}} {{.LocalVolumes}}'", script: list, stdout: "N/A 0\n"},
		{args: "images --format '{{.VirtualSize}} {{.Containers}}' nginx", script: images(), stdout: "187MB N/A\n"},
		{args: "info -f '{{.DockerRootDir}} {{.Driver}} {{.ContainersPaused}}'", script: info,
			stdout: "/d overlay 0\n"},
		{args: "events --format '{{.Status}} {{.ID}} {{.From}}'",
			script: someEvents(), stdout: "create c1c1 nginx\n  \nstart c1c1 nginx\nexec_start: sh -c true c2c2 pg2\n" +
				"start c2c2 pg\n"},
		{args: "config ls", code: 1,
			stderr: "fairlead: docker config ls is not supported; Fairlead manages one host and has no Swarm mode\n"},
		{args: "''", code: 1, stderr: "fairlead: unknown command: fairlead \"\"; see 'fairlead --help'\n"},
		{args: "inspect ''", code: 1, stdout: "[]\n",
			stderr: "fairlead: object: name or ID is empty: add a container, an image, a network or a volume\n"},
		{args: "inspect -f '{{.HostConfig.LogConfig.Type}} {{.Config.AttachStdout}} {{.Config.Healthcheck}} " +
			"{{.SizeRw}}' a",
			script: got(&containerv1.Container{Config: &containerv1.ContainerConfig{}}), stdout: "json-file false " +
				"<nil> <nil>\n"},
	})
}
