package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// The container of the command crowd and its clients.
const (
	crowdName    = "speaker"
	crowdLines   = 300_000 // of 110 bytes
	crowdClients = 100
)

// crowdScript prints numbered lines, then waits.
const crowdScript = `seq 1 300000 | sed 's/$/ ` +
	`0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789/'
touch /data/done; exec sleep 100000`

// crowd attaches a hundred clients to a container and reads its log with others, while it prints 33 MB:
// clients that read slowly, that do not read, that are gone after a moment, and that read the log again
// and again. The container must not wait for them, and one reader of the log and one attached client
// get all lines. In the end the agent has closed what it opened for them.
func crowd(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s := of(ts)
	c := &crowdOf{scriptEnv: s, bin: ts.Getenv(binVar)}
	must(ts, c.run(ctx))
}

type crowdOf struct {
	*scriptEnv
	bin string
}

func (c *crowdOf) run(ctx context.Context) error {
	_, err := c.agent.CLI(ctx, "create", "--name", crowdName, "-v", crowdName+":/data", "--log-opt", "max-size=-1",
		"busybox", "sh", "-c", crowdScript)
	if err != nil {
		return err
	}
	before := c.descriptors()

	limited, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	for i := range crowdClients {
		all.Go(func() { c.misbehave(limited, i) })
	}
	attached := c.read(ctx, "start", "-a", crowdName)
	for out := ""; !strings.Contains(out, "running"); {
		if out, err = c.agent.CLI(ctx, "inspect", "-f", "{{.State.Status}}", crowdName); err != nil {
			return err
		}
		select {
		case err := <-attached:
			return fmt.Errorf("start -a: %w", err)
		default:
		}
	}
	logged := c.read(ctx, "logs", "-f", crowdName)

	if err := c.await(ctx); err != nil {
		return err
	}
	for what, lines := range map[string]<-chan error{"start -a": attached, "logs": logged} {
		if err := <-lines; err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if _, err := c.agent.CLI(ctx, "exec", crowdName, "true"); err != nil {
		return err
	}
	stop()
	all.Wait()
	if _, err := c.agent.CLI(ctx, "rm", "-f", "-v", crowdName); err != nil {
		return err
	}
	return c.checkClosed(before)
}

// await waits until the container has printed everything.
func (c *crowdOf) await(ctx context.Context) error {
	path := filepath.Join(c.agent.DataRoot(), "volumes", crowdName, "_data", "done")
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the container waits for its clients")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// read runs a command that must print all lines in order.
func (c *crowdOf) read(ctx context.Context, args ...string) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		cmd := exec.CommandContext(ctx, c.bin+"/fairlead", append([]string{"-H", c.agent.Socket()}, args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			done <- err
			return
		}
		err = inOrder(out)
		cancel()
		_ = cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr.String())
		}
		done <- err
	}()
	return done
}

// inOrder reads the lines of the container and returns an error if one is missing.
func inOrder(r io.Reader) error {
	in := bufio.NewScanner(r)
	for n := 1; n <= crowdLines; n++ {
		if !in.Scan() {
			return fmt.Errorf("the output ends before line %d: %w", n, errors.Join(in.Err(), io.ErrUnexpectedEOF))
		}
		if !strings.HasPrefix(in.Text(), fmt.Sprint(n, " ")) {
			return fmt.Errorf("got %q as line %d", in.Text(), n)
		}
	}
	return nil
}

// misbehave is one client, until ctx is done. Clients reconnect when they are disconnected.
func (c *crowdOf) misbehave(ctx context.Context, i int) {
	kinds := []func(context.Context, containerv1.ContainerServiceClient){
		func(ctx context.Context, api containerv1.ContainerServiceClient) { // does not read
			if _, err := attachTo(ctx, api); err == nil {
				<-ctx.Done()
			}
		},
		func(ctx context.Context, api containerv1.ContainerServiceClient) { // reads slowly
			stream, err := attachTo(ctx, api)
			for err == nil {
				_, err = stream.Recv()
				pause(ctx, 200*time.Millisecond)
			}
		},
		func(ctx context.Context, api containerv1.ContainerServiceClient) { // is gone after a moment
			stream, err := attachTo(ctx, api)
			for n := 0; err == nil && n < 5; n++ {
				_, err = stream.Recv()
			}
		},
		func(ctx context.Context, api containerv1.ContainerServiceClient) { // reads the log, fast
			stream, err := api.ReadLogs(ctx, &containerv1.ReadLogsRequest{Reference: crowdName, Joined: true})
			for err == nil {
				_, err = stream.Recv()
			}
		},
		func(ctx context.Context, api containerv1.ContainerServiceClient) { // follows the log and does not read
			_, err := api.ReadLogs(ctx, &containerv1.ReadLogsRequest{Reference: crowdName, Follow: true})
			if err == nil {
				<-ctx.Done()
			}
		},
	}

	for ctx.Err() == nil {
		conn, err := grpc.NewClient(c.agent.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err == nil {
			kinds[i%len(kinds)](ctx, containerv1.NewContainerServiceClient(conn))
			_ = conn.Close() // as if the client were killed
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func attachTo(ctx context.Context, api containerv1.ContainerServiceClient) (
	grpc.BidiStreamingClient[containerv1.AttachContainerRequest, containerv1.AttachContainerResponse], error) {
	stream, err := api.AttachContainer(ctx)
	if err != nil {
		return nil, err
	}
	return stream, stream.Send(&containerv1.AttachContainerRequest{Message: &containerv1.AttachContainerRequest_Attach{
		Attach: &containerv1.AttachOptions{Reference: crowdName, WaitForStart: true}}})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// descriptors returns the number of open files of the agent.
func (c *crowdOf) descriptors() int {
	n := 0
	for _, p := range c.Processes() {
		if p.Name == "fairlead-agent" {
			open, _ := os.ReadDir(c.Root(fmt.Sprintf("/proc/%d/fd", p.Pid)))
			n += len(open)
		}
	}
	return n
}

// checkClosed waits until the agent has closed the files of all clients.
func (c *crowdOf) checkClosed(before int) error {
	const margin = 20 // connections between services, and those that end
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(100 * time.Millisecond) {
		n := c.descriptors()
		if n <= before+margin {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the agent has %d open files, had %d before its clients", n, before)
		}
	}
}
