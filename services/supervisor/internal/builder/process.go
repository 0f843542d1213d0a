package builder

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	startTimeout = time.Minute
	// lockTimeout bounds the wait for a BuildKit of an agent that was killed, which ends with it.
	lockTimeout = 30 * time.Second
	stopTimeout = 20 * time.Second
	retryTime   = 50 * time.Millisecond
	keptLines   = 20
)

// processConfig describes the process to start.
type processConfig struct {
	program, config, socket string
	network                 func(ctx context.Context) (serve func(), err error)
	log                     *slog.Logger
}

// process is a running BuildKit, with the server of its network.
type process struct {
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	cancel  context.CancelFunc
	network sync.WaitGroup

	mu    sync.Mutex
	lines []string // the end of its log
}

// startProcess starts BuildKit and waits until it accepts connections. It waits for a BuildKit that is
// still ending.
func startProcess(ctx context.Context, cfg processConfig) (*process, error) {
	limit := time.Now().Add(lockTimeout)
	for {
		p, err := tryStart(ctx, cfg)
		if err == nil || ctx.Err() != nil || time.Now().After(limit) || p == nil || !p.isLocked() {
			return p.unless(err), err
		}
		time.Sleep(retryTime)
	}
}

// unless returns the process, or nil with an error.
func (p *process) unless(err error) *process {
	if err != nil {
		return nil
	}
	return p
}

// tryStart starts BuildKit once. The returned process has ended if there is an error.
func tryStart(ctx context.Context, cfg processConfig) (*process, error) {
	if err := os.Remove(cfg.socket); err != nil && !os.IsNotExist(err) {
		return nil, fault.Wrap(err, fault.Internal, "builder", "cannot be prepared")
	}
	p := &process{cmd: exec.Command(cfg.program, "--config", cfg.config), ended: make(chan struct{})}
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "TMPDIR=" + os.TempDir()}
	// It must not outlive the agent: a later one would not find it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}

	var running context.Context
	running, p.cancel = context.WithCancel(context.Background())
	serve, err := cfg.network(running)
	if err != nil {
		p.cancel()
		return nil, fault.Wrap(err, fault.Internal, "network of build steps", "cannot be served")
	}
	p.network.Go(serve)
	if err := p.launch(cfg.log); err != nil {
		p.cancel()
		p.network.Wait()
		return nil, fault.Wrap(err, fault.Busy, "builder "+cfg.program, "cannot be started")
	}
	if err := p.await(ctx, cfg.socket); err != nil {
		p.stop()
		return p, err
	}
	return p, nil
}

// launch starts the process in a goroutine of its own.
func (p *process) launch(log *slog.Logger) error {
	out, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	started := make(chan error)
	go p.run(out, log, started)
	return <-started
}

// run starts the process and waits for its end. The kernel signals the process when the thread that
// started it ends, so the thread waits too.
func (p *process) run(out io.Reader, log *slog.Logger, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		log.Debug("buildkitd: " + lines.Text())
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		p.lines = p.lines[max(0, len(p.lines)-keptLines):]
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // a line too long for the scanner
	err = p.cmd.Wait()
	log.Debug("BuildKit ended", "error", err)
	p.cancel()
	close(p.ended)
}

// await waits until the process accepts connections.
func (p *process) await(ctx context.Context, socket string) error {
	limit := time.After(startTimeout)
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return nil
		}
		select {
		case <-p.ended:
			return fault.New(fault.Internal, "BuildKit", "ended during its start: "+p.lastLines())
		case <-limit:
			return fault.New(fault.Unavailable, "BuildKit", "did not start within a minute: "+p.lastLines())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryTime):
		}
	}
}

func (p *process) lastLines() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return lastLines(p.lines)
}

// isLocked reports whether the process has ended because another one uses its directory.
func (p *process) isLocked() bool { return strings.Contains(p.lastLines(), "could not lock") }

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// stop ends the process and waits for its end.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	p.network.Wait()
}
