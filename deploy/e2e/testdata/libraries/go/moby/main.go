// Command moby uses an engine by Docker's own client library, from the first ping to the last prune.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/fairlead/fairlead/deploy/e2e/testdata/libraries/go/check"
)

// life holds the client and what its steps leave to later ones.
type life struct {
	*client.Client
	ctx context.Context
	web string // ID of the container that runs
}

func main() {
	c, err := client.New(client.FromEnv)
	check.Nil(err, "new client")
	l := &life{Client: c, ctx: context.Background()}
	for _, step := range []func(){
		l.system, l.images, l.run, l.service, l.exec, l.files, l.observe, l.networks, l.build, l.events, l.clean,
	} {
		step()
	}
	fmt.Println("all of moby")
}

func (l *life) system() {
	p, err := l.Ping(l.ctx, client.PingOptions{NegotiateAPIVersion: true})
	check.Nil(err, "ping")
	check.Equal(p.OSType, "linux", "ping")
	v, err := l.ServerVersion(l.ctx, client.ServerVersionOptions{})
	check.Nil(err, "version")
	check.Equal(v.APIVersion, p.APIVersion, "API version")
	check.True(len(v.Components) > 0, "components", v)
	info, err := l.Info(l.ctx, client.InfoOptions{})
	check.Nil(err, "info")
	check.True(info.Info.NCPU > 0 && info.Info.ServerVersion == v.Version, "info", info)
}

// images pulls an image, saves and removes it, and loads it again.
func (l *life) images() {
	pulled, err := l.ImagePull(l.ctx, "busybox", client.ImagePullOptions{})
	check.Nil(err, "pull")
	check.Nil(pulled.Wait(l.ctx), "wait for the pull")
	_, err = l.ImagePull(l.ctx, "127.0.0.1:5000/nosuch", client.ImagePullOptions{})
	check.True(errdefs.IsNotFound(err), "pull of an unknown image", err)

	_, err = l.ImageTag(l.ctx, client.ImageTagOptions{Source: "busybox", Target: "moved:1"})
	check.Nil(err, "tag")
	saved, err := l.ImageSave(l.ctx, []string{"moved:1"})
	check.Nil(err, "save")
	archive := check.Read(saved, "save")
	removed, err := l.ImageRemove(l.ctx, "moved:1", client.ImageRemoveOptions{})
	check.Nil(err, "remove image")
	check.Equal(removed.Items[0].Untagged, "moved:1", "remove image")
	_, err = l.ImageInspect(l.ctx, "moved:1")
	check.True(errdefs.IsNotFound(err), "inspect removed image", err)

	loaded, err := l.ImageLoad(l.ctx, strings.NewReader(archive))
	check.Nil(err, "load")
	text := check.Read(loaded, "load")
	check.True(strings.Contains(text, "Loaded image: moved:1"), "load", text)
	found, err := l.ImageList(l.ctx, client.ImageListOptions{Filters: client.Filters{}.Add("reference", "moved")})
	check.Nil(err, "list images")
	check.Equal(len(found.Items), 1, "list images")
}

// run attaches before the start, writes input, and waits for the exit code.
func (l *life) run() {
	c := l.create("", client.ContainerCreateOptions{Config: &container.Config{
		Image: "busybox", Cmd: []string{"sh", "-c", "read a; echo out $a; echo err >&2; exit 3"},
		OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	}, HostConfig: &container.HostConfig{AutoRemove: true}})
	attached, err := l.ContainerAttach(l.ctx, c, client.ContainerAttachOptions{
		Stream: true, Stdin: true, Stdout: true, Stderr: true,
	})
	check.Nil(err, "attach")
	defer attached.Close()
	done := l.ContainerWait(l.ctx, c, client.ContainerWaitOptions{Condition: container.WaitConditionRemoved})
	l.start(c)
	_, err = io.WriteString(attached.Conn, "input\n")
	check.Nil(errors.Join(err, attached.CloseWrite()), "write input")

	var out, errs bytes.Buffer
	_, err = stdcopy.StdCopy(&out, &errs, attached.Reader)
	check.Nil(err, "read output")
	check.Equal(out.String(), "out input\n", "output")
	check.Equal(errs.String(), "err\n", "errors")
	select {
	case r := <-done.Result:
		check.Equal(r.StatusCode, 3, "exit code")
	case err := <-done.Error:
		check.Nil(err, "wait")
	}
	_, err = l.ContainerInspect(l.ctx, c, client.ContainerInspectOptions{})
	check.True(errdefs.IsNotFound(err), "inspect after the removal", err)
}

// service starts a web server with a network, a volume and a port, and connects to it.
func (l *life) service() {
	n, err := l.NetworkCreate(l.ctx, "front", client.NetworkCreateOptions{
		Driver: "bridge", Labels: map[string]string{"a": "b"},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("10.9.0.0/24")}}},
	})
	check.Nil(err, "create network")
	v, err := l.VolumeCreate(l.ctx, client.VolumeCreateOptions{Name: "data", Labels: map[string]string{"a": "b"}})
	check.Nil(err, "create volume")
	check.True(v.Volume.Mountpoint != "", "create volume", v)

	port := network.MustParsePort("80/tcp")
	l.web = l.create("web", client.ContainerCreateOptions{
		Config: &container.Config{
			Image: "busybox", Labels: map[string]string{"x": "y"}, ExposedPorts: network.PortSet{port: {}},
			Cmd: []string{"sh", "-c", "echo up; echo page >/data/index.html; exec httpd -f -p 80 -h /data"},
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "front", PortBindings: network.PortMap{port: {{}}},
			Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "data", Target: "/data"}},
		},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			"front": {Aliases: []string{"www"},
				IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr("10.9.0.7")}},
		}},
	})
	_, err = l.ContainerCreate(l.ctx, client.ContainerCreateOptions{Name: "web", Image: "busybox"})
	check.True(errdefs.IsConflict(err), "create with a used name", err)
	l.start(l.web)
	l.start(l.web) // 304

	d, err := l.ContainerInspect(l.ctx, "web", client.ContainerInspectOptions{})
	check.Nil(err, "inspect")
	e := d.Container.NetworkSettings.Networks["front"]
	check.Equal(e.IPAddress.String(), "10.9.0.7", "address")
	check.Equal(e.NetworkID, n.ID, "network of the endpoint")
	check.Equal(d.Container.Mounts[0].Name, "data", "mount")
	bound := d.Container.NetworkSettings.Ports[port][0]
	check.Equal(strings.TrimSpace(check.Page("http://127.0.0.1:"+bound.HostPort+"/index.html")), "page", "page")
}

func (l *life) exec() {
	made, err := l.ExecCreate(l.ctx, "web", client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", "read a; echo $a $B; exit 9"}, Env: []string{"B=c"},
		AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	check.Nil(err, "create exec")
	attached, err := l.ExecAttach(l.ctx, made.ID, client.ExecAttachOptions{})
	check.Nil(err, "attach exec")
	defer attached.Close()
	_, err = io.WriteString(attached.Conn, "text\n")
	check.Nil(errors.Join(err, attached.CloseWrite()), "write to exec")
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, attached.Reader)
	check.Nil(err, "read exec")
	check.Equal(out.String(), "text c\n", "output of exec")
	x, err := l.ExecInspect(l.ctx, made.ID, client.ExecInspectOptions{})
	check.Nil(err, "inspect exec")
	check.True(!x.Running && x.ExitCode == 9 && x.ContainerID == l.web, "inspect exec", x)
}

func (l *life) files() {
	_, err := l.CopyToContainer(l.ctx, "web", client.CopyToContainerOptions{
		DestinationPath: "/tmp", Content: check.Archive("file", "text"),
	})
	check.Nil(err, "copy to")
	stat, err := l.ContainerStatPath(l.ctx, "web", client.ContainerStatPathOptions{Path: "/tmp/file"})
	check.Nil(err, "stat")
	check.Equal(stat.Stat.Size, 4, "stat")
	copied, err := l.CopyFromContainer(l.ctx, "web", client.CopyFromContainerOptions{SourcePath: "/tmp/file"})
	check.Nil(err, "copy from")
	check.Equal(check.Unpack(copied.Content), "text", "copy from")
	check.Nil(copied.Content.Close(), "copy from")
	_, err = l.ContainerStatPath(l.ctx, "web", client.ContainerStatPathOptions{Path: "/nosuch"})
	check.True(errdefs.IsNotFound(err), "stat of an unknown file", err)
}

// observe reads logs that follow, statistics, processes and lists.
func (l *life) observe() {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	logs, err := l.ContainerLogs(ctx, "web", client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true,
		Follow: true})
	check.Nil(err, "logs")
	frame := make([]byte, 11)
	_, err = io.ReadFull(logs, frame)
	check.Nil(err, "logs")
	check.Equal(string(frame[8:]), "up\n", "logs")
	check.Nil(logs.Close(), "close logs")

	s, err := l.ContainerStats(l.ctx, "web", client.ContainerStatsOptions{})
	check.Nil(err, "stats")
	var stats container.StatsResponse
	check.Nil(json.Unmarshal([]byte(check.Read(s.Body, "stats")), &stats), "stats")
	check.True(stats.PidsStats.Current == 1 && len(stats.Networks) == 1, "stats", stats)
	top, err := l.ContainerTop(l.ctx, "web", client.ContainerTopOptions{})
	check.Nil(err, "top")
	check.Equal(len(top.Processes), 1, "top")
	list, err := l.ContainerList(l.ctx, client.ContainerListOptions{Filters: client.Filters{}.Add("label", "x=y")})
	check.Nil(err, "list")
	check.True(len(list.Items) == 1 && list.Items[0].State == container.StateRunning, "list", list)
}

func (l *life) networks() {
	_, err := l.NetworkCreate(l.ctx, "back", client.NetworkCreateOptions{})
	check.Nil(err, "create network")
	_, err = l.NetworkConnect(l.ctx, "back", client.NetworkConnectOptions{
		Container: "web", EndpointConfig: &network.EndpointSettings{Aliases: []string{"inner"}},
	})
	check.Nil(err, "connect")
	n, err := l.NetworkInspect(l.ctx, "back", client.NetworkInspectOptions{})
	check.Nil(err, "inspect network")
	check.Equal(n.Network.Containers[l.web].Name, "web", "container of the network")
	_, err = l.NetworkRemove(l.ctx, "back", client.NetworkRemoveOptions{})
	check.Failed(err, "has active endpoints", "remove used network")
	_, err = l.NetworkDisconnect(l.ctx, "back", client.NetworkDisconnectOptions{Container: "web"})
	check.Nil(err, "disconnect")
	_, err = l.NetworkRemove(l.ctx, "back", client.NetworkRemoveOptions{})
	check.Nil(err, "remove network")
}

func (l *life) build() {
	built, err := l.ImageBuild(l.ctx, check.Archive("Dockerfile",
		"FROM busybox\nRUN echo built >/made\nCMD cat /made\n"),
		client.ImageBuildOptions{Tags: []string{"built:1"}, Remove: true})
	check.Nil(err, "build")
	text := check.Read(built.Body, "build")
	check.True(strings.Contains(text, "Successfully tagged built:1"), "build", text)
	c := l.create("", client.ContainerCreateOptions{Image: "built:1"})
	done := l.ContainerWait(l.ctx, c, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	l.start(c)
	check.Equal((<-done.Result).StatusCode, 0, "exit code of the built image")
	logs, err := l.ContainerLogs(l.ctx, c, client.ContainerLogsOptions{ShowStdout: true})
	check.Nil(err, "logs")
	check.Equal(check.Read(logs, "logs")[8:], "built\n", "built file")
}

// events follows the stop and the removal of the container.
func (l *life) events() {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	stream := l.Events(ctx, client.EventsListOptions{Filters: client.Filters{}.Add("container", "web")})
	none := 0
	_, err := l.ContainerStop(l.ctx, "web", client.ContainerStopOptions{Timeout: &none})
	check.Nil(err, "stop")
	_, err = l.ContainerRemove(l.ctx, "web", client.ContainerRemoveOptions{RemoveVolumes: true})
	check.Nil(err, "remove")

	seen := ""
	for !strings.HasSuffix(seen, " destroy") {
		select {
		case m := <-stream.Messages:
			seen += " " + string(m.Action)
			check.True(m.Actor.ID == l.web && m.Actor.Attributes["name"] == "web", "event", m)
		case err := <-stream.Err:
			check.Nil(err, "events")
		}
	}
	check.True(strings.Contains(seen, " stop die"), "events", seen)
}

func (l *life) clean() {
	c, err := l.ContainerPrune(l.ctx, client.ContainerPruneOptions{})
	check.Nil(err, "prune containers")
	check.Equal(len(c.Report.ContainersDeleted), 1, "prune containers")
	n, err := l.NetworkPrune(l.ctx, client.NetworkPruneOptions{})
	check.Nil(err, "prune networks")
	check.True(len(n.Report.NetworksDeleted) == 1, "prune networks", n)
	v, err := l.VolumePrune(l.ctx, client.VolumePruneOptions{All: true})
	check.Nil(err, "prune volumes")
	check.True(len(v.Report.VolumesDeleted) == 1, "prune volumes", v)
	i, err := l.ImagePrune(l.ctx, client.ImagePruneOptions{Filters: client.Filters{}.Add("dangling", "false")})
	check.Nil(err, "prune images")
	check.True(len(i.Report.ImagesDeleted) > 0, "prune images", i)
}

func (l *life) create(name string, o client.ContainerCreateOptions) string {
	o.Name = name
	c, err := l.ContainerCreate(l.ctx, o)
	check.Nil(err, "create "+name)
	return c.ID
}

func (l *life) start(id string) {
	_, err := l.ContainerStart(l.ctx, id, client.ContainerStartOptions{})
	check.Nil(err, "start")
}
