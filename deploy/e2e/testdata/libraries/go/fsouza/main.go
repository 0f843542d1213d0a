// Command fsouza uses an engine by go-dockerclient, the client library of dockertest, Drone and many other programs.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	docker "github.com/fsouza/go-dockerclient"

	"github.com/fairlead/fairlead/deploy/e2e/testdata/libraries/go/check"
)

// life holds the client and what its steps leave to later ones.
type life struct {
	*docker.Client
	web    *docker.Container
	events chan *docker.APIEvents
}

func main() {
	c, err := docker.NewVersionedClientFromEnv("1.44")
	check.Nil(err, "new client")
	l := &life{Client: c, events: make(chan *docker.APIEvents, 1000)}
	for _, step := range []func(){
		l.system, l.images, l.run, l.service, l.exec, l.files, l.observe, l.networks, l.build, l.end, l.clean,
	} {
		step()
	}
	fmt.Println("all of go-dockerclient")
}

func (l *life) system() {
	check.Nil(l.Ping(), "ping")
	v, err := l.Version()
	check.Nil(err, "version")
	check.Equal(v.Get("ApiVersion"), "1.56", "version")
	info, err := l.Info()
	check.Nil(err, "info")
	check.True(info.NCPU > 0 && info.OSType == "linux", "info", info)
	check.Nil(l.AddEventListenerWithOptions(docker.EventsOptions{
		Since:   strconv.FormatInt(time.Now().Unix(), 10), // the library connects later
		Filters: map[string][]string{"type": {"container"}, "container": {"site"}},
	}, l.events), "listen to events")
}

// images pulls an image, saves and removes it, and loads it again.
func (l *life) images() {
	var out bytes.Buffer
	err := l.PullImage(docker.PullImageOptions{Repository: "busybox", Tag: "latest", OutputStream: &out},
		docker.AuthConfiguration{})
	check.Nil(err, "pull")
	check.True(strings.Contains(out.String(), "busybox:latest"), "progress of the pull", out.String())
	check.Nil(l.TagImage("busybox", docker.TagImageOptions{Repo: "moved", Tag: "1"}), "tag")
	var archive bytes.Buffer
	check.Nil(l.ExportImage(docker.ExportImageOptions{Name: "moved:1", OutputStream: &archive}), "save")
	check.Nil(l.RemoveImage("moved:1"), "remove image")
	_, err = l.InspectImage("moved:1")
	check.True(errors.Is(err, docker.ErrNoSuchImage), "inspect removed image", err)
	check.Nil(l.LoadImage(docker.LoadImageOptions{InputStream: &archive, OutputStream: io.Discard}), "load")
	i, err := l.InspectImage("moved:1")
	check.Nil(err, "inspect image")
	check.Equal(strings.Join(i.RepoTags, " "), "busybox:latest moved:1", "tags")
}

// run attaches before the start, writes input, and waits for the exit code.
func (l *life) run() {
	c, err := l.CreateContainer(docker.CreateContainerOptions{Config: &docker.Config{
		Image: "busybox", Cmd: []string{"sh", "-c", "read a; echo out $a; echo err >&2; exit 3"},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}})
	check.Nil(err, "create")
	var out, errs bytes.Buffer
	attached := make(chan struct{})
	waiter, err := l.AttachToContainerNonBlocking(docker.AttachToContainerOptions{
		Container: c.ID, InputStream: strings.NewReader("input\n"), OutputStream: &out, ErrorStream: &errs,
		Stream: true, Stdin: true, Stdout: true, Stderr: true, Success: attached,
	})
	check.Nil(err, "attach")
	<-attached
	attached <- struct{}{}
	check.Nil(l.StartContainer(c.ID, nil), "start")
	check.Nil(waiter.Wait(), "read output")
	code, err := l.WaitContainer(c.ID)
	check.Nil(err, "wait")
	check.Equal(code, 3, "exit code")
	check.Equal(out.String(), "out input\n", "output")
	check.Equal(errs.String(), "err\n", "errors")
	check.Nil(l.RemoveContainer(docker.RemoveContainerOptions{ID: c.ID}), "remove")
	var gone *docker.NoSuchContainer
	_, err = l.InspectContainerWithOptions(docker.InspectContainerOptions{ID: c.ID})
	check.True(errors.As(err, &gone), "inspect after the removal", err)
}

// service starts a web server with a network, a volume and a port, and connects to it.
func (l *life) service() {
	n, err := l.CreateNetwork(docker.CreateNetworkOptions{Name: "front", Driver: "bridge", CheckDuplicate: true,
		IPAM: &docker.IPAMOptions{Config: []docker.IPAMConfig{{Subnet: "10.9.0.0/24", Gateway: "10.9.0.1"}}}})
	check.Nil(err, "create network")
	_, err = l.CreateNetwork(docker.CreateNetworkOptions{Name: "front", CheckDuplicate: true})
	check.Failed(err, "network with name front already exists", "create existing network")
	_, err = l.CreateVolume(docker.CreateVolumeOptions{Name: "data"})
	check.Nil(err, "create volume")

	l.web, err = l.CreateContainer(docker.CreateContainerOptions{
		Name: "site",
		Config: &docker.Config{
			Image: "busybox", Labels: map[string]string{"x": "y"}, ExposedPorts: map[docker.Port]struct{}{"80/tcp": {}},
			Cmd: []string{"sh", "-c", "echo up; echo page >/data/index.html; exec httpd -f -p 80 -h /data"},
		},
		HostConfig: &docker.HostConfig{
			NetworkMode: "front", Binds: []string{"data:/data"}, PublishAllPorts: true,
			RestartPolicy: docker.RestartOnFailure(2), Memory: 64 << 20,
		},
		NetworkingConfig: &docker.NetworkingConfig{EndpointsConfig: map[string]*docker.EndpointConfig{
			"front": {Aliases: []string{"www"}, IPAMConfig: &docker.EndpointIPAMConfig{IPv4Address: "10.9.0.7"}},
		}},
	})
	check.Nil(err, "create site")
	_, err = l.CreateContainer(docker.CreateContainerOptions{Name: "site", Config: &docker.Config{Image: "busybox"}})
	check.True(errors.Is(err, docker.ErrContainerAlreadyExists), "create with a used name", err)
	check.Nil(l.StartContainer("site", nil), "start")
	var running *docker.ContainerAlreadyRunning
	check.True(errors.As(l.StartContainer("site", nil), &running), "start again", nil)

	d, err := l.InspectContainerWithOptions(docker.InspectContainerOptions{ID: "site"})
	check.Nil(err, "inspect")
	e := d.NetworkSettings.Networks["front"]
	check.True(e.IPAddress == "10.9.0.7" && e.NetworkID == n.ID && e.Gateway == "10.9.0.1", "endpoint", e)
	check.True(d.State.Running && d.HostConfig.Memory == 64<<20 && d.HostConfig.RestartPolicy.MaximumRetryCount == 2,
		"inspect", d)
	port := d.NetworkSettings.Ports["80/tcp"][0].HostPort
	check.Equal(check.Page("http://127.0.0.1:"+port+"/"), "page\n", "page")
}

func (l *life) exec() {
	x, err := l.CreateExec(docker.CreateExecOptions{
		Container: "site", Cmd: []string{"sh", "-c", "cat; echo $B >&2; exit 9"}, Env: []string{"B=c"},
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	check.Nil(err, "create exec")
	var out, errs bytes.Buffer
	check.Nil(l.StartExec(x.ID, docker.StartExecOptions{
		InputStream: strings.NewReader("text\n"), OutputStream: &out, ErrorStream: &errs,
	}), "start exec")
	check.Equal(out.String()+errs.String(), "text\nc\n", "output of exec")
	d, err := l.InspectExec(x.ID)
	check.Nil(err, "inspect exec")
	check.True(!d.Running && d.ExitCode == 9 && d.ContainerID == l.web.ID, "inspect exec", d)
}

func (l *life) files() {
	check.Nil(l.UploadToContainer("site", docker.UploadToContainerOptions{
		InputStream: check.Archive("file", "text"), Path: "/tmp",
	}), "copy to")
	var archive bytes.Buffer
	check.Nil(l.DownloadFromContainer("site", docker.DownloadFromContainerOptions{OutputStream: &archive,
		Path: "/tmp/file"}), "copy from")
	check.Equal(check.Unpack(&archive), "text", "copy from")
	changes, err := l.ContainerChanges("site")
	check.Nil(err, "changes")
	check.True(strings.Contains(fmt.Sprint(changes), "/tmp/file"), "changes", changes)
	var all bytes.Buffer
	check.Nil(l.ExportContainer(docker.ExportContainerOptions{ID: "site", OutputStream: &all}), "export")
	i, err := l.CommitContainer(docker.CommitContainerOptions{Container: "site", Repository: "made", Tag: "1"})
	check.Nil(err, "commit")
	check.True(strings.HasPrefix(i.ID, "sha256:"), "commit", i)
}

// observe reads logs that follow, statistics, processes and lists.
func (l *life) observe() {
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- l.Logs(docker.LogsOptions{Container: "site", OutputStream: write, Stdout: true, Stderr: true,
			Follow: true})
	}()
	line := make([]byte, 3)
	_, err := io.ReadFull(read, line)
	check.Nil(err, "logs")
	check.Equal(string(line), "up\n", "logs")
	check.Nil(l.KillContainer(docker.KillContainerOptions{ID: "site", Signal: docker.SIGKILL}), "kill")
	check.Nil(<-ended, "end of the logs")
	check.Nil(l.RestartContainer("site", 0), "restart")

	stats := make(chan *docker.Stats, 1)
	check.Nil(l.Stats(docker.StatsOptions{ID: "site", Stats: stats}), "stats")
	s := <-stats
	check.True(s.PidsStats.Current == 1 && len(s.Networks) == 1, "stats", s)
	top, err := l.TopContainer("site", "")
	check.Nil(err, "top")
	check.True(len(top.Processes) == 1 && strings.Contains(fmt.Sprint(top.Processes), "httpd"), "top", top)
	list, err := l.ListContainers(docker.ListContainersOptions{Filters: map[string][]string{"label": {"x=y"}}})
	check.Nil(err, "list")
	check.True(len(list) == 1 && list[0].Names[0] == "/site" && len(list[0].Ports) > 0, "list", list)
}

func (l *life) networks() {
	n, err := l.CreateNetwork(docker.CreateNetworkOptions{Name: "back"})
	check.Nil(err, "create network")
	check.Nil(l.ConnectNetwork("back", docker.NetworkConnectionOptions{
		Container: "site", EndpointConfig: &docker.EndpointConfig{Aliases: []string{"inner"}},
	}), "connect")
	d, err := l.NetworkInfo(n.ID)
	check.Nil(err, "inspect network")
	check.Equal(d.Containers[l.web.ID].Name, "site", "container of the network")
	check.Failed(l.RemoveNetwork("back"), "has active endpoints", "remove used network")
	check.Nil(l.DisconnectNetwork("back", docker.NetworkConnectionOptions{Container: "site"}), "disconnect")
	check.Nil(l.RemoveNetwork("back"), "remove network")
	var gone *docker.NoSuchNetwork
	_, err = l.NetworkInfo("back")
	check.True(errors.As(err, &gone), "inspect removed network", err)
}

func (l *life) build() {
	var out bytes.Buffer
	check.Nil(l.BuildImage(docker.BuildImageOptions{
		Name: "built:1", OutputStream: &out, RmTmpContainer: true, BuildArgs: []docker.BuildArg{{Name: "A",
			Value: "argument"}},
		InputStream: check.Archive("Dockerfile", "FROM busybox\nARG A\nRUN echo $A >/made\nLABEL l=m\n"),
	}), "build")
	i, err := l.InspectImage("built:1")
	check.Nil(err, "inspect built image")
	check.Equal(i.Config.Labels["l"], "m", "label of the built image")
	check.True(strings.Contains(out.String(), "Successfully tagged built:1"), "build", out.String())
}

// end stops and removes the container, and reads the events of its life.
func (l *life) end() {
	check.Nil(l.PauseContainer("site"), "pause")
	check.Nil(l.UnpauseContainer("site"), "unpause")
	check.Nil(l.StopContainer("site", 0), "stop")
	var stopped *docker.ContainerNotRunning
	check.True(errors.As(l.StopContainer("site", 0), &stopped), "stop again", nil)
	check.Nil(l.RemoveContainer(docker.RemoveContainerOptions{ID: "site", RemoveVolumes: true}), "remove")

	// The library passes each event in a goroutine of its own, so their order is lost.
	missing := map[string]bool{"create": true, "start": true, "kill": true, "die": true, "restart": true, "pause": true,
		"unpause": true, "exec_die": true, "stop": true, "destroy": true}
	for len(missing) > 0 {
		e := <-l.events
		check.True(e.Actor.ID == l.web.ID && e.From == "busybox", "event", e)
		delete(missing, e.Action)
	}
}

func (l *life) clean() {
	_, err := l.PruneContainers(docker.PruneContainersOptions{})
	check.Nil(err, "prune containers")
	n, err := l.PruneNetworks(docker.PruneNetworksOptions{})
	check.Nil(err, "prune networks")
	check.Equal(strings.Join(n.NetworksDeleted, " "), "front", "prune networks")
	check.Nil(l.RemoveVolume("data"), "remove volume")
	check.True(errors.Is(l.RemoveVolume("data"), docker.ErrNoSuchVolume), "remove volume again", nil)
	_, err = l.PruneVolumes(docker.PruneVolumesOptions{})
	check.Nil(err, "prune volumes")
	i, err := l.PruneImages(docker.PruneImagesOptions{Filters: map[string][]string{"dangling": {"false"}}})
	check.Nil(err, "prune images")
	check.True(len(i.ImagesDeleted) > 0, "prune images", i)
}
