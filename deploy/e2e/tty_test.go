package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/console"
	"github.com/rogpeppe/go-internal/testscript"
)

// tty FILE PROGRAM ARGS… runs a program at a terminal and plays the file's lines to it:
//
//	expect REGEX       waits until it has written that, behind what was found before
//	send "TEXT"        types, quoted as in Go
//	resize ROWS COLS   changes the terminal's size
//	exit CODE          waits for its end
//	hangup             closes the terminal, as a window does
func tty(ts *testscript.TestScript, _ bool, args []string) {
	master, slave, err := console.NewPty()
	must(ts, err)
	defer master.Close()
	terminal, err := os.OpenFile(slave, os.O_RDWR, 0)
	must(ts, err)
	path := ts.Getenv(binVar) + "/" + args[1] // only our own commands are played at a terminal
	cmd := exec.Command(path, args[2:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "FAIRLEAD_HOST="+ts.Getenv("FAIRLEAD_HOST"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(ts, cmd.Start())
	must(ts, terminal.Close())
	p := &player{cmd: cmd, master: master, done: make(chan struct{})}
	go p.listen()
	defer p.stop()
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := p.play(line); err != nil {
			ts.Fatalf("%s: %v\nthe terminal shows:\n%s", line, err, p.text())
		}
	}
}

// player plays one file.
type player struct {
	cmd    *exec.Cmd
	master console.Console
	done   chan struct{} // closed when the program has ended
	err    error

	mu   sync.Mutex
	seen bytes.Buffer
	from int // how far expect has read
}

func (p *player) listen() {
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.seen.Write(buf[:n])
		p.mu.Unlock()
		if err != nil {
			break
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *player) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *player) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.String()
}

func (p *player) play(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "expect":
		return p.expect(rest)
	case "send":
		text, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		_, err = p.master.Write([]byte(text))
		return err
	case "resize":
		var size console.WinSize
		if _, err := fmt.Sscan(rest, &size.Height, &size.Width); err != nil {
			return err
		}
		return p.master.Resize(size)
	case "exit":
		return p.exit(rest)
	case "hangup":
		return p.master.Close()
	}
	return errors.New("no such word")
}

func (p *player) expect(pattern string) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if at := re.FindStringIndex(p.text()[p.from:]); at != nil {
			p.from += at[1]
			return nil
		}
	}
	return errors.New("not seen")
}

func (p *player) exit(code string) error {
	select {
	case <-p.done:
	case <-time.After(patience):
		return errors.New("still there")
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != code {
		return fmt.Errorf("exit code %s (%v)", got, p.err)
	}
	return nil
}
