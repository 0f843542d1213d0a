// Command demo shows Fairlead: it runs nginx in a container on docker0, requests its page through
// the published port from another host, inspects it and removes it. The hosts are namespaces that
// exit with the program; the machine's own network is not changed. With the argument fleet, it shows a fleet
// of three hosts.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// registryAddress is the address of the registry on the host.
const registryAddress = "127.0.0.1:5000"

func main() {
	lab.Init()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	run := show
	if len(os.Args) > 1 && os.Args[1] == "fleet" {
		run = showFleet
	}
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// show creates the lab, runs the scene and removes everything.
func show(ctx context.Context, out io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("run as root: the demo creates namespaces and containers")
	}

	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}

	say(out, "Building an image of Debian's nginx and a namespace lab: a host (%s) and a client.", lab.HostIPv4)
	images, err := nginx(ctx)
	if err != nil {
		return err
	}

	l, err := lab.New(ctx)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, l.Close())
		say(out, "Both machines are gone again, with all that was on them.")
	}()
	listener, err := l.Host.Listen("tcp", registryAddress)
	if err != nil {
		return err
	}
	defer images.Serve(listener).Close()

	agent, err := l.NewAgent(bin, lab.AllInOne,
		map[string]any{"registry-mirrors": []string{"http://" + registryAddress}})
	if err != nil {
		return err
	}

	if err := agent.Start(ctx); err != nil {
		return err
	}

	say(out, "The agent serves. A registry on the host's loopback stands in for Docker Hub.")
	return (&scene{ctx, out, bin, l, agent}).play()
}

func nginx(ctx context.Context) (*registry.Registry, error) {
	img, err := debimage.Cache{Dir: ".cache"}.Nginx(ctx)
	if err != nil {
		return nil, err
	}
	return registry.New(map[string]v1.Image{"library/nginx:latest": img})
}

func say(out io.Writer, format string, args ...any) { fmt.Fprintf(out, "\n# "+format+"\n", args...) }
