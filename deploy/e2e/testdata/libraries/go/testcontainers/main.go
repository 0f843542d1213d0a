// Command testcontainers uses an engine as a test does that starts what it depends on by testcontainers-go.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/fairlead/fairlead/deploy/e2e/testdata/libraries/go/check"
)

// limit bounds the wait for a container.
const limit = time.Minute

// lines counts the requests in the log of a web server.
type lines struct{ n atomic.Int32 }

func (l *lines) Accept(log testcontainers.Log) {
	if strings.Contains(string(log.Content), "url:/") {
		l.n.Add(1)
	}
}

func main() {
	ctx := context.Background()
	provider, err := testcontainers.NewDockerProvider()
	check.Nil(err, "new provider")
	check.Nil(provider.Health(ctx), "health")

	n, err := network.New(ctx, network.WithLabels(map[string]string{"a": "b"}))
	check.Nil(err, "create network")
	web, log := service(ctx, n)
	exchange(ctx, web)
	other(ctx, n)
	build(ctx)

	for deadline := time.Now().Add(limit); log.n.Load() == 0; time.Sleep(20 * time.Millisecond) {
		check.True(time.Now().Before(deadline), "lines of the log", log.n.Load())
	}
	restart(ctx, web)
	check.Nil(testcontainers.TerminateContainer(web), "terminate")
	check.Nil(n.Remove(ctx), "remove network")
	check.Nil(provider.Close(), "close")
	fmt.Println("all of testcontainers-go")
}

// service starts a web server and waits for its port and its page.
func service(ctx context.Context, n *testcontainers.DockerNetwork) (*testcontainers.DockerContainer, *lines) {
	log := &lines{}
	web, err := testcontainers.Run(ctx, "busybox:latest",
		network.WithNetwork([]string{"www"}, n),
		testcontainers.WithEnv(map[string]string{"A": "1"}),
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: strings.NewReader("page\n"), ContainerFilePath: "/w/index.html", FileMode: 0o644,
		}),
		testcontainers.WithCmd("httpd", "-f", "-vv", "-p", "80", "-h", "/w"),
		testcontainers.WithExposedPorts("80/tcp"),
		testcontainers.WithLogConsumers(log),
		testcontainers.WithTmpfs(map[string]string{"/scratch": "size=1m"}),
		testcontainers.WithWaitStrategyAndDeadline(limit,
			wait.ForListeningPort("80/tcp"), wait.ForHTTP("/").WithPort("80/tcp"),
			wait.ForExec([]string{"test", "-e", "/w/index.html"})),
	)
	check.Nil(err, "run")
	endpoint, err := web.PortEndpoint(ctx, "80/tcp", "http")
	check.Nil(err, "endpoint")
	check.Equal(check.Page(endpoint+"/"), "page\n", "page")
	return web, log
}

// exchange runs commands and copies files.
func exchange(ctx context.Context, web *testcontainers.DockerContainer) {
	code, out, err := web.Exec(ctx, []string{"sh", "-c", "echo $A; exit 5"}, exec.Multiplexed())
	check.Nil(err, "exec")
	check.Equal(code, 5, "exit code of exec")
	text, err := io.ReadAll(out)
	check.Nil(err, "output of exec")
	check.Equal(string(text), "1\n", "output of exec")

	check.Nil(web.CopyToContainer(ctx, []byte("text"), "/tmp/new/file", 0o600), "copy to")
	copied, err := web.CopyFileFromContainer(ctx, "/tmp/new/file")
	check.Nil(err, "copy from")
	check.Equal(check.Read(copied, "copy from"), "text", "copy from")
	d, err := web.Inspect(ctx)
	check.Nil(err, "inspect")
	check.True(d.State.Running && d.Config.Labels["org.testcontainers"] == "true", "inspect", d)
	ip, err := web.ContainerIP(ctx)
	check.Nil(err, "address")
	check.True(ip != "", "address", ip)
}

// other runs a container that uses the first by its alias, and ends.
func other(ctx context.Context, n *testcontainers.DockerNetwork) {
	c, err := testcontainers.Run(ctx, "busybox:latest",
		network.WithNetwork([]string{"other"}, n),
		testcontainers.WithCmd("wget", "-q", "-O", "-", "http://www/"),
		testcontainers.WithWaitStrategyAndDeadline(limit, wait.ForExit(), wait.ForLog("page")))
	check.Nil(err, "run other")
	state, err := c.State(ctx)
	check.Nil(err, "state")
	check.Equal(state.ExitCode, 0, "exit code")
	logs, err := c.Logs(ctx)
	check.Nil(err, "logs")
	check.Equal(check.Read(logs, "logs"), "page\n", "logs")
	check.Nil(testcontainers.TerminateContainer(c), "terminate other")
}

// build runs an image that is built first.
func build(ctx context.Context) {
	files := check.Archive("Dockerfile", "FROM busybox\nRUN echo built >/made\nCMD cat /made\n")
	c, err := testcontainers.Run(ctx, "", testcontainers.WithDockerfile(testcontainers.FromDockerfile{
		ContextArchive: bytes.NewReader(files.Bytes()), Repo: "built", Tag: "1",
	}), testcontainers.WithWaitStrategyAndDeadline(limit, wait.ForLog("built"), wait.ForExit()))
	check.Nil(err, "build and run")
	check.Nil(testcontainers.TerminateContainer(c), "terminate built")
}

// restart stops the container and starts it again: its port is connected to again.
func restart(ctx context.Context, web *testcontainers.DockerContainer) {
	none := time.Duration(0)
	check.Nil(web.Stop(ctx, &none), "stop")
	check.Nil(web.Start(ctx), "start again")
	endpoint, err := web.PortEndpoint(ctx, "80/tcp", "http")
	check.Nil(err, "endpoint")
	check.Equal(check.Page(endpoint+"/"), "page\n", "page after the restart")
}
