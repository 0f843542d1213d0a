package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/ctl/internal/terminal/terminaltest"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
	hostv1 "github.com/fairlead/fairlead/proto/gen/fairlead/host/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

// running starts an agent with two containers, two images and two networks.
func running(t testing.TB) (host string) {
	t.Helper()

	container := func(name string, status containerv1.ContainerStatus) *containerv1.Container {
		return &containerv1.Container{Id: name, Status: status, Config: &containerv1.ContainerConfig{Name: name}}
	}
	_, host = clienttest.Serve(t, clienttest.Script{
		"ListContainers": {clienttest.Answers(&containerv1.ListContainersResponse{Containers: []*containerv1.Container{
			container("webserver", containerv1.ContainerStatus_CONTAINER_STATUS_RUNNING), container("wellknown",
				containerv1.ContainerStatus_CONTAINER_STATUS_EXITED)}})},
		"ListImages": {clienttest.Answers(&containerv1.ListImagesResponse{Images: []*containerv1.Image{
			{Tags: []string{"nginx:latest"}}, {Tags: []string{"localhost:5000/app:v1"}}}})},
		"ListNetworks": {clienttest.Answers(&networkv1.ListNetworksResponse{Networks: []*networkv1.Network{
			{Name: "bridge", Predefined: true}, {Name: "backend"}}})},
		"GetInfo": {clienttest.Answers(&hostv1.GetInfoResponse{NetworkDrivers: []string{"bridge", "host", "ipvlan",
			"macvlan", "null"}})},
	})

	return host
}

// places lists command lines with the completions that must be offered at their end.
var places = []struct{ typed, want string }{
	{"fairlead insp", "fairlead inspect "},
	{"fairlead run --publish-ad", "fairlead run --publish-address "},
	{"fairlead stop we", "fairlead stop webserver "},
	{"fairlead start we", "fairlead start wellknown "},
	{"fairlead container rm web", "fairlead container rm webserver "},
	{"fairlead run -it ngi", "fairlead run -it nginx "},
	{"fairlead rmi localhost:5000/a", "fairlead rmi localhost:5000/app:v1 "},
	{"fairlead run --network bac", "fairlead run --network backend "},
	{"fairlead run --network container:w", "fairlead run --network container:webserver "},
	{"fairlead network rm b", "fairlead network rm backend "},
	{"fairlead network connect backend wel", "fairlead network connect backend wellknown "},
	{"fairlead network create -d mac", "fairlead network create -d macvlan "},
	{"fairlead network create -o macv", "fairlead network create -o macvlan_mode="},
	{"fairlead ps --format js", "fairlead ps --format json "},
	{"fairlead run --pull nev", "fairlead run --pull never "},
}

// environment returns an environment with the program and its agent, without the user's startup
// files.
func environment(t *testing.T, bin, host string) []string {
	t.Helper()
	return []string{"PATH=" + filepath.Dir(bin) + ":/usr/bin:/bin", "FAIRLEAD_HOST=" + host, "HOME=" + t.TempDir(),
		"TERM=dumb", "LANG=C.UTF-8"}
}

func need(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("this test needs %s; make setup installs it", path)
			}
			t.Skipf("needs %s; make setup installs it", path)
		}
	}
}

func TestShellsComplete(t *testing.T) {
	bin, host := build(t), running(t)
	for shell, start := range map[string]struct {
		args  []string
		needs string
		setup string // the shell prints READY and waits
	}{
		"bash": {[]string{"/bin/bash", "--norc", "--noprofile", "-i"}, "/usr/share/bash-completion/bash_completion",
			"PS1=; . /usr/share/bash-completion/bash_completion; . <(fairlead completion bash); bind 'set " +
				"bell-style none'"},
		"zsh": {[]string{"/usr/bin/zsh", "-f", "-i"}, "/usr/bin/zsh",
			"PS1= PROMPT_EOL_MARK=; autoload -Uz compinit; compinit -u -D; . <(fairlead completion zsh); " +
				"unsetopt zle_bracketed_paste"},
	} {
		t.Run(shell, func(t *testing.T) {
			need(t, start.args[0], start.needs)
			s := startShell(t, environment(t, bin, host), start.args...)
			s.types(start.setup + "; echo REA''DY\r")
			s.await("READY")
			for _, p := range places {
				s.types("\x15" + p.typed + "\t")
				if !s.shows(p.want) {
					t.Errorf("got %q, want %q of %q", s.shown(), p.want, p.typed)
				}
				s.types("\x15")
			}
		})
	}
}

// shell is an interactive shell on a terminal.
type shell struct {
	t    *testing.T
	user *os.File
	text chan []byte
	seen bytes.Buffer
}

func startShell(t *testing.T, env []string, args ...string) *shell {
	t.Helper()

	user, program := terminaltest.Pair(t, 50, 200)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, program, program, program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s := &shell{t: t, user: user, text: make(chan []byte, 1000)}
	go func() {
		for {
			piece := make([]byte, 4096)
			n, err := user.Read(piece)
			if err != nil {
				return
			}
			s.text <- piece[:n]
		}
	}()

	return s
}

// types sends keys and clears the recorded output.
func (s *shell) types(keys string) {
	s.t.Helper()
	s.seen.Reset()
	if _, err := s.user.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// shown returns the terminal output without cursor movements.
func (s *shell) shown() string { return strings.ReplaceAll(s.seen.String(), "\a", "") }

// shows waits until the terminal shows a text or a time limit passes.
func (s *shell) shows(text string) bool {
	limit := time.After(20 * time.Second)
	for !strings.Contains(s.shown(), text) {
		select {
		case piece := <-s.text:
			s.seen.Write(piece)
		case <-limit:
			return false
		}
	}
	return true
}

func (s *shell) await(text string) {
	s.t.Helper()
	if !s.shows(text) {
		s.t.Fatalf("the shell does not show %q but %q", text, s.shown())
	}
}

func TestFishCompletes(t *testing.T) {
	need(t, "/usr/bin/fish")
	bin, host := build(t), running(t)
	for _, p := range places {
		cmd := exec.Command("/usr/bin/fish", "--no-config", "-c",
			"fairlead completion fish | source; complete -C \""+p.typed+"\"")
		cmd.Env = environment(t, bin, host)
		out, err := cmd.CombinedOutput()
		words := strings.Fields(p.want)
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\t")
		if err != nil || first != words[len(words)-1] {
			t.Errorf("got %q, %v, want %q of %q", out, err, words[len(words)-1], p.typed)
		}
	}
}

// BenchmarkComplete measures a completion without the shell.
func BenchmarkComplete(b *testing.B) {
	bin, host := build(b), running(b)
	for b.Loop() {
		cmd := exec.Command(bin, "__complete", "stop", "")
		cmd.Env = append(os.Environ(), "FAIRLEAD_HOST="+host)
		if out, err := cmd.Output(); err != nil || !bytes.Contains(out, []byte("webserver")) {
			b.Fatalf("%s, %v", out, err)
		}
	}
}
