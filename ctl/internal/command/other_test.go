package command_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	natv1 "github.com/fairlead/fairlead/proto/gen/fairlead/nat/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
	"github.com/fairlead/fairlead/proto/version"
)

func pulled() clienttest.Script {
	return clienttest.Script{"PullImage": {clienttest.Answers(
		&containerv1.PullImageResponse{
			Event: &containerv1.PullImageResponse_Progress{Progress: &containerv1.Progress{Step: "pulling",
				Subject: "nginx"}},
		},
		&containerv1.PullImageResponse{
			Event: &containerv1.PullImageResponse_Image{Image: &containerv1.Image{Id: "sha256:1"}},
		})}}
}

func TestPullPrintsFullName(t *testing.T) {
	checkAll(t, []row{
		{args: "pull nginx", script: pulled(), stdout: "docker.io/library/nginx:latest\n", stderr: "nginx: Pulling\n",
			requests: []proto.Message{&containerv1.PullImageRequest{Reference: "nginx"}}},
		{args: "image pull -q --platform linux/arm64 localhost:5000/a:1", script: pulled(),
			stdout: "localhost:5000/a:1\n",
			requests: []proto.Message{&containerv1.PullImageRequest{Reference: "localhost:5000/a:1",
				Platform: "linux/arm64"}}},
		{args: "pull nope", script: clienttest.Script{"PullImage": {clienttest.Fails(fault.New(fault.Unavailable,
			"registry docker.io", "does not answer"))}},
			stderr: "fairlead: registry docker.io: does not answer\n", code: 1},
		{args: "pull", stderr: "fairlead: 'fairlead pull' requires exactly 1 argument; see 'fairlead pull --help'\n",
			code: 1},
	})
}

func images() clienttest.Script {
	digest := "@sha256:" + strings.Repeat("d", 64)
	return clienttest.Script{"ListImages": {clienttest.Answers(
		&containerv1.ListImagesResponse{Images: []*containerv1.Image{
			{Id: "sha256:" + strings.Repeat("1", 64), Tags: []string{"nginx:latest", "localhost:5000/web:1"},
				Digests: []string{"nginx" + digest},
				Size:    187_000_000, CreatedAt: ago(21 * 24 * time.Hour)},
			{Id: "sha256:" + strings.Repeat("2", 64), Size: 4_261_550},
		}})}}
}

func TestImagesPrintLinePerTag(t *testing.T) {
	checkAll(t, []row{
		{args: "images", script: images(), stdout: "" +
			"REPOSITORY           TAG       IMAGE ID       CREATED       SIZE\n" +
			"nginx                latest    111111111111   3 weeks ago   187MB\n" +
			"localhost:5000/web   1         111111111111   3 weeks ago   187MB\n" +
			"<none>               <none>    222222222222   N/A           4.26MB\n"},
		{args: "image ls -q", script: images(), stdout: "111111111111\n222222222222\n"},
		{args: "images -q --no-trunc nginx", script: images(), stdout: "sha256:" + strings.Repeat("1", 64) + "\n"},
		{args: "images --format '{{.Repository}}:{{.Tag}} {{.Digest}}' docker.io/library/nginx", script: images(),
			stdout: "nginx:latest sha256:" + strings.Repeat("d", 64) + "\n"},
		{args: "images -q localhost:5000/web:2", script: images()},
	})
	got := execute(t, row{args: "images --format json", script: images()})
	if !strings.Contains(got.stdout, `"Repository":"nginx","SharedSize":"N/A","Size":"187MB","Tag":"latest","UniqueSize":"N/A","VirtualSize":"187MB"}`) || strings.Count(got.stdout, "\n") != 3 {
		t.Errorf("%s", got.stdout)
	}
}

func TestRmiAndTag(t *testing.T) {
	removed := clienttest.Answers(&containerv1.RemoveImageResponse{Untagged: []string{"a:latest"},
		Deleted: []string{"sha256:1", "sha256:2"}})
	inUse := clienttest.Fails(fault.New(fault.Busy, "image b", "container web uses it"))
	checkAll(t, []row{
		{args: "rmi b a", script: clienttest.Script{"RemoveImage": {inUse, removed}},
			stdout: "Untagged: a:latest\nDeleted: sha256:1\nDeleted: sha256:2\n",
			stderr: "fairlead: image b: container web uses it\n", code: 1},
		{args: "image rm -f a", script: clienttest.Script{"RemoveImage": {removed}},
			stdout:   "Untagged: a:latest\nDeleted: sha256:1\nDeleted: sha256:2\n",
			requests: []proto.Message{&containerv1.RemoveImageRequest{Reference: "a", Force: true}}},
		{args: "tag a b:1", script: clienttest.Script{"TagImage": {clienttest.Answers(
			&containerv1.TagImageResponse{})}},
			requests: []proto.Message{&containerv1.TagImageRequest{Reference: "a", Tag: "b:1"}}},
	})
}

func TestLoadAndImport(t *testing.T) {
	inDir(t, map[string]string{"a.tar": "archive"})
	var got bytes.Buffer
	load := clienttest.Call{Serve: func(first proto.Message, s clienttest.Stream) error {
		got.Reset()
		for m, err := first, error(nil); err != io.EOF; m, err = s.Recv() {
			if err != nil {
				return err
			}
			got.Write(m.(*containerv1.LoadImageRequest).GetData())
		}
		return s.Send(&containerv1.LoadImageResponse{Images: []*containerv1.Image{{Tags: []string{"a:1", "a:2"}},
			{Id: "sha256:9"}}})
	}}
	for _, r := range []row{{args: "load -i a.tar"}, {args: "load", stdin: "archive"}} {
		r.script = clienttest.Script{"LoadImage": {load}}
		r.stdout = "Loaded image: a:1\nLoaded image: a:2\nLoaded image ID: sha256:9\n"
		if check(t, r); got.String() != "archive" {
			t.Errorf("%s: the agent was sent %q", r.args, got.String())
		}
	}

	imported := clienttest.Call{Serve: func(_ proto.Message, s clienttest.Stream) error {
		clienttest.Drain(s)
		return s.Send(&containerv1.ImportImageResponse{Image: &containerv1.Image{Id: "sha256:9"}})
	}}
	checkAll(t, []row{
		{args: "import -c 'CMD [\"sh\"]' --change 'ENV A=b' a.tar me/a:1",
			script: clienttest.Script{"ImportImage": {imported}}, stdout: "sha256:9\n",
			requests: []proto.Message{&containerv1.ImportImageRequest{Message: &containerv1.ImportImageRequest_Options{
				Options: &containerv1.ImportOptions{Reference: "me/a:1", Changes: []string{`CMD ["sh"]`, "ENV A=b"}}}}}},
		{args: "import -", stdin: "x", script: clienttest.Script{"ImportImage": {imported}}, stdout: "sha256:9\n"},
		{args: "load -i nope.tar",
			stderr: "fairlead: archive nope.tar: cannot be read: open nope.tar: no such file or directory\n", code: 1},
	})
}

func TestInfo(t *testing.T) {
	info := clienttest.Script{"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{Version: "1.2",
		ApiVersion: "1.1", KernelVersion: "6.1", Os: "linux", Architecture: "amd64",
		CgroupVersion: "2", Runtime: "/usr/bin/crun", DataRoot: "/d", ExecRoot: "/e",
		NetworkDrivers:       []string{"bridge", "host", "null"},
		DefaultNetworkDriver: "bridge", Containers: map[string]uint32{"running": 2,
			"exited": 1}, Images: 4, Warnings: []string{"no sctp"}})},
		"Diagnose":     {clienttest.Answers(&natv1.DiagnoseResponse{Backend: "nftables"})},
		"GetConfig":    {clienttest.Answers(&agentv1.GetConfigResponse{})},
		"ListNetworks": {clienttest.Answers(&networkv1.ListNetworksResponse{})}}
	checkAll(t, []row{
		{args: "info", script: info, stderr: "WARNING: no sctp\n",
			stdout: "Agent Version: 1.2\nAPI Version: 1.1\nContainers: 3\n Running: 2\n Created: 0\n Exited: " +
				"1\nImages: 4\n" +
				"Network Drivers: bridge host null\nDefault Network Driver: bridge\nFirewall Backend: " +
				"nftables\nDefault Address Pools: Docker's\nDefault Runtime: /usr/bin/crun\nCgroup Version: 2\n" +
				"Kernel Version: 6.1\nOS/Arch: linux/amd64\nData Root: /d\nExec Root: /e\n"},
		{args: "info -f '{{.ContainersRunning}} {{join .NetworkDrivers \",\"}}'", script: info,
			stdout: "2 bridge,host,null\n"},
		{args: "info -f '{{.ServerVersion}} {{.APIVersion}}'", script: info, stdout: "1.2 1.1\n"},
		{args: "version -f '{{.Client.Version}} {{.Server.Version}}'", script: info, stdout: version.Version +
			" 1.2\n"},
		{args: "version -f '{{.Client.APIVersion}} {{.Server.APIVersion}}'", script: info, stdout: version.API +
			" 1.1\n"},
		{args: "version --client --format '{{.Client.Os}}'", stdout: "linux\n", requests: []proto.Message{}},
	})
}

func TestNetworkListAndInspect(t *testing.T) {
	bridge := &networkv1.Network{Id: strings.Repeat("c", 64), Name: "bridge", Driver: "bridge"}
	list := clienttest.Script{"ListNetworks": {clienttest.Answers(
		&networkv1.ListNetworksResponse{Networks: []*networkv1.Network{bridge}})}}
	checkAll(t, []row{
		{args: "network ls", script: list,
			stdout: "NETWORK ID     NAME      DRIVER    SCOPE\ncccccccccccc   bridge    bridge    local\n"},
		{args: "network ls -q", script: list, stdout: "cccccccccccc\n"},
		{args: "network inspect -f '{{.Driver}}' bridge", stdout: "bridge\n",
			script: clienttest.Script{"GetNetwork": {clienttest.Answers(
				&networkv1.GetNetworkResponse{Network: bridge})}}},
	})
}

func TestAgentAddressPrecedence(t *testing.T) {
	info := clienttest.Script{"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{Version: "1"})}}
	_, host := clienttest.Serve(t, info)
	for _, c := range []struct{ args, variable string }{
		{"info -f {{.Version}}", host}, {"-H " + host + " info -f {{.Version}}", "unix:///nowhere"}, {"info -H " +
			host + " -f {{.Version}}", ""},
	} {
		var out, errs bytes.Buffer
		cl := newCLI(t, nil, strings.NewReader(""), &out, &errs, c.variable)
		if code := command.Run(t.Context(), cl, words(c.args)); code != 0 || out.String() != "1\n" {
			t.Errorf("%s with %q: code %d, %s%s", c.args, c.variable, code, &out, &errs)
		}
	}

	const nowhere = "unix:///nowhere/a.sock"
	const cannot = "fairlead: agent " + nowhere +
		": cannot connect: no such file or directory; start fairlead-agent, " +
		"or set its address with -H or FAIRLEAD_HOST\n"
	checkAll(t, []row{
		{args: "ps -H " + nowhere, stderr: cannot, code: 1},
		{args: "run -H " + nowhere + " x", stderr: cannot, code: 125},
		{args: "-H nowhere ps",
			stderr: "fairlead: agent nowhere: address has no scheme; write unix:///PATH or " +
				"tcp://ADDRESS:PORT\n", code: 1},
	})
}

func TestUnknownCommandsSuggestSimilar(t *testing.T) {
	checkAll(t, []row{
		{args: "rnu x", stderr: "fairlead: unknown command: fairlead rnu; did you mean run?; see 'fairlead " +
			"--help'\n", code: 1},
		{args: "container prot",
			stderr: "fairlead: unknown command: fairlead container prot; did you mean port?; see 'fairlead " +
				"container --help'\n", code: 1},
		{args: "zzzzzz", stderr: "fairlead: unknown command: fairlead zzzzzz; see 'fairlead --help'\n", code: 1},
		{args: "help image zzz",
			stderr: "fairlead: unknown command: fairlead image zzz; see 'fairlead image --help'\n", code: 1},
		{args: "ps --al", stderr: "fairlead: unknown flag: --al; did you mean --all?; see 'fairlead ps --help'\n",
			code: 125},
		{args: "ps -z", stderr: "fairlead: unknown shorthand flag: 'z' in -z; see 'fairlead ps --help'\n", code: 125},
	})
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"", "--help", "help", "run --help", "help run", "container run --help",
		"container", "image --help", "logs --help"} {
		got := execute(t, row{args: args})
		if got.code != 0 || !strings.Contains(got.stdout, "Usage:  fairlead") || got.stderr != "" ||
			!strings.Contains(got.stdout, "--host string") {
			t.Errorf("%q: code %d\n%s%s", args, got.code, got.stdout, got.stderr)
		}
	}
}
