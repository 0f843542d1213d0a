// Command dockertest uses an engine as a test does that starts what it depends on by dockertest.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/ory/dockertest/v3"
	docker "github.com/ory/dockertest/v3/docker"

	"github.com/fairlead/fairlead/deploy/e2e/testdata/libraries/go/check"
)

func main() {
	pool, err := dockertest.NewPool("")
	check.Nil(err, "new pool")
	check.Nil(pool.Client.Ping(), "ping")

	// Run pulls the image, which is not there, and publishes its ports.
	web, err := pool.Run("nginx", "1", []string{"A=1"})
	check.Nil(err, "run")
	check.Nil(web.Expire(600), "expire")
	check.Nil(pool.Retry(func() error { return fetch("http://" + web.GetHostPort("80/tcp") + "/") }), "page")
	check.True(web.GetPort("80/tcp") != "" && web.GetBoundIP("80/tcp") != "", "port",
		web.Container.NetworkSettings.Ports)

	var out bytes.Buffer
	code, err := web.Exec([]string{"sh", "-c", "echo $A; exit 4"}, dockertest.ExecOptions{StdOut: &out})
	check.Nil(err, "exec")
	check.Equal(code, 4, "exit code of exec")
	check.Equal(out.String(), "1\n", "output of exec")

	networks(pool, web)
	build(pool)
	check.Nil(pool.Purge(web), "purge")
	_, found := pool.ContainerByName("built")
	check.True(!found, "container after its removal", found)
	fmt.Println("all of dockertest")
}

// networks connects the container to another network, and from there.
func networks(pool *dockertest.Pool, web *dockertest.Resource) {
	n, err := pool.CreateNetwork("session",
		func(o *docker.CreateNetworkOptions) { o.Labels = map[string]string{"a": "b"} })
	check.Nil(err, "create network")
	check.Nil(web.ConnectToNetwork(n), "connect")
	address := web.GetIPInNetwork(n)
	other, err := pool.RunWithOptions(&dockertest.RunOptions{
		Name: "other", Repository: "busybox", Tag: "latest", Cmd: []string{"sleep", "1000"},
		Networks: []*dockertest.Network{n}, Labels: map[string]string{"x": "y"},
	}, func(h *docker.HostConfig) { h.AutoRemove = true; h.RestartPolicy = docker.RestartPolicy{Name: "no"} })
	check.Nil(err, "run other")
	var out bytes.Buffer
	code, err := other.Exec([]string{"wget", "-q", "-O", "-", "http://" + address + "/"},
		dockertest.ExecOptions{StdOut: &out})
	check.Nil(err, "exec in other")
	check.True(code == 0 && strings.Contains(out.String(), "Welcome to nginx"), "page from other", out.String())
	same, found := pool.ContainerByName("^/?other$")
	check.True(found && same.Container.ID == other.Container.ID, "container by its name", found)
	check.Nil(pool.RemoveContainerByName("^/?other$"), "remove by name")
	check.Nil(web.DisconnectFromNetwork(n), "disconnect")
	check.Nil(n.Close(), "remove network")
	left, err := pool.NetworksByName("session")
	check.Nil(err, "list networks")
	check.Equal(len(left), 0, "networks")
}

// build builds an image of a directory, and runs it.
func build(pool *dockertest.Pool) {
	dir, err := os.MkdirTemp("", "context")
	check.Nil(err, "make the context")
	defer os.RemoveAll(dir)
	text := "FROM busybox\nRUN mkdir /w && echo built >/w/index.html\nEXPOSE 80\nCMD httpd -f -h /w\n"
	check.Nil(os.WriteFile(dir+"/Dockerfile", []byte(text), 0o644), "write Dockerfile")
	built, err := pool.BuildAndRun("built", dir+"/Dockerfile", nil)
	check.Nil(err, "build and run")
	check.Equal(check.Page("http://"+built.GetHostPort("80/tcp")+"/"), "built\n", "page of the built image")
	check.Nil(built.Close(), "close")
}

func fetch(url string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	err = r.Body.Close()
	if r.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(r.Status))
	}
	return err
}
