package e2e

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// registryAddress is where the host's registry listens.
const registryAddress = "127.0.0.1:5000"

// cacheDir has packages, and what is made of them.
const cacheDir = "../../.cache"

// patience bounds everything that a story waits for.
const patience = 40 * time.Second

// fixture is what all stories share.
type fixture struct {
	bin    string
	images map[string]v1.Image
}

func TestScripts(t *testing.T) {
	testns.NeedRoot(t)
	needPrograms(t, "crun", "conmon", "nft", "conntrack", "curl", "apt-get")
	e := fixture{bin: build(t), images: images(t)}
	before := cgroups()
	t.Run("scripts", func(t *testing.T) { // all of them have ended when this returns
		for _, shape := range []lab.DeployMode{lab.AllInOne, lab.Split} {
			t.Run(string(shape), func(t *testing.T) { e.runScripts(t, shape, "testdata", family{}) })
			for name, kinds := range families() {
				if shape == lab.AllInOne || name == "dual" { // how services are spread is nothing to a family of its own
					t.Run(string(shape)+"-"+name, func(t *testing.T) { e.runScripts(t, shape, "testdata/families", kinds) })
				}
			}
		}
	})
	for name := range remaining(before) {
		t.Errorf("left behind: cgroup %s", name)
	}
}

// remaining are the cgroups that were not there before and stay. Those of agents elsewhere on the machine are without a process for a moment
// only, when they are made and when they go.
func remaining(before map[string]bool) map[string]bool {
	left := cgroups()
	maps.DeleteFunc(left, func(name string, _ bool) bool { return before[name] })
	for deadline := time.Now().Add(patience); len(left) > 0 && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		now := cgroups()
		maps.DeleteFunc(left, func(name string, _ bool) bool { return !now[name] })
	}
	return left
}

// container is what a container's cgroup is named for.
var container = regexp.MustCompile(`[0-9a-f]{64}`)

// cgroups are the machine's cgroups of containers that have no process.
func cgroups() map[string]bool {
	found := map[string]bool{}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && container.MatchString(e.Name()) {
			if procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs")); err == nil && len(procs) == 0 {
				found[path] = true
			}
		}
		return nil
	})
	return found
}

func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("this test needs %s installed; make setup does that", name)
			}
			t.Skipf("needs %s installed", name)
		}
	}
}

// build makes the binaries, or takes those that the machine of deploy/vm is given, where building would take minutes.
func build(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("FAIRLEAD_BIN"); bin != "" {
		return bin
	}
	bin := t.TempDir()
	for name, pkg := range map[string]string{"fairlead": "./ctl/cmd/fairlead", "fairlead-agent": "./services/cmd/fairlead-agent"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, name), pkg)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return bin
}

func images(t *testing.T) map[string]v1.Image {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cache := debimage.Cache{Dir: cacheDir}
	busybox, err := cache.Busybox(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nginx, err := cache.Nginx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]v1.Image{"library/busybox:latest": busybox, "library/nginx:latest": nginx, "library/nginx:1": nginx}
}

// runScripts tells every story of a folder to agents of one shape.
func (e fixture) runScripts(t *testing.T, shape lab.DeployMode, dir string, kinds family) {
	testscript.Run(t, testscript.Params{
		Dir:                dir,
		RequireUniqueNames: true,
		Setup:              func(env *testscript.Env) error { return e.setup(env, shape) },
		Condition:          kinds.condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start-agent":    startAgent,
			"kill-agent":     killAgent,
			"refused-agent":  refusedAgent,
			"manage-agent":   manageAgent,
			"reboot":         reboot,
			"registry":       setRegistry,
			"eventually":     eventually,
			"family-network": kinds.network,
			"fetch":          kinds.fetch,
			"tty":            tty,
			"leftovers":      leftovers,
			"programs":       programs,
			"crash-launches": crashLaunches,
			"crash-networks": crashNetworks,
			"crash-while":    crashWhile,
			"hostile-image":  e.hostileImage,
			"hammer":         hammer,
		},
	})
}

// scriptEnv is one story's lab and what is in it.
type scriptEnv struct {
	*lab.Lab
	env      *testscript.Env
	agent    *lab.Agent
	registry *registry.Registry
	server   io.Closer // of the registry
}

// storyKey is where a script keeps its story.
type storyKey struct{}

func of(ts *testscript.TestScript) *scriptEnv { return ts.Value(storyKey{}).(*scriptEnv) }

// setup makes a story's lab, with its registry and its agent running.
func (e fixture) setup(env *testscript.Env, shape lab.DeployMode) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	l, err := lab.New(ctx)
	if err != nil {
		return err
	}
	s := &scriptEnv{Lab: l, env: env}
	env.Values[storyKey{}] = s
	env.Defer(s.end)
	if s.registry, err = registry.New(e.images); err != nil {
		return err
	}
	if err := s.connectRegistry(); err != nil {
		return err
	}
	keys := map[string]any{"registry-mirrors": []string{"http://" + registryAddress}}
	if runtime := os.Getenv("FAIRLEAD_RUNTIME"); runtime != "" {
		keys["default-runtime"] = runtime
	}
	s.agent, err = l.NewAgent(e.bin, shape, keys)
	if err != nil {
		return err
	}
	s.setVariables(e.bin)
	return s.agent.Start(ctx)
}

func (s *scriptEnv) setVariables(bin string) {
	for name, value := range map[string]string{
		binVar:          bin,
		"FAIRLEAD_HOST": s.agent.Socket(),
		"DATA":          s.agent.DataRoot(),
		"EXEC":          s.agent.ExecRoot(),
		"LAB":           s.Dir,
		"HOST":          lab.HostIPv4,
		"HOST6":         lab.HostIPv6,
		"CLIENT":        lab.ClientIPv4,
		"REGISTRY":      registryAddress,
	} {
		s.env.Setenv(name, value)
	}
	s.env.Setenv("PATH", s.env.Getenv("PATH")+":/usr/sbin:/sbin")
	s.setMachines(s.env.Setenv)
}

// setMachines tells the programs host and client where their machines are; a reboot makes new ones.
func (s *scriptEnv) setMachines(set func(name, value string)) {
	set(hostVar, itoa(s.Pid()))
	set(clientVar, s.Client.Path())
}

func (s *scriptEnv) connectRegistry() error {
	l, err := s.Host.Listen("tcp", registryAddress)
	if err != nil {
		return err
	}
	s.server = s.registry.Serve(l)
	return nil
}

func (s *scriptEnv) disconnectRegistry() { _ = s.server.Close() }

// end takes the story's lab away, however it went, and tells what the agent had to say.
func (s *scriptEnv) end() {
	if s.agent != nil {
		s.env.T().Log(s.agent.Log())
	}
	if s.server != nil {
		s.disconnectRegistry()
	}
	var err error
	if s.agent != nil {
		err = s.agent.Unmanage()
	}
	err = errors.Join(err, s.Close())
	if _, still := os.Stat(s.Dir); !errors.Is(still, os.ErrNotExist) {
		err = errors.Join(err, errors.New("left behind: "+s.Dir))
	}
	if err != nil {
		s.env.T().Fatal(err)
	}
}
