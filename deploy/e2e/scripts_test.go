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

	"github.com/fairlead/fairlead/agent/test/testcollector"
	"github.com/fairlead/fairlead/agent/test/testns"
	"github.com/fairlead/fairlead/deploy/internal/debimage"
	"github.com/fairlead/fairlead/deploy/internal/lab"
	"github.com/fairlead/fairlead/deploy/internal/registry"
)

// registryAddress is the address of the registry on the host's loopback.
const registryAddress = "127.0.0.1:5000"

// cacheDir contains Debian packages and the images built from them.
const cacheDir = "../../.cache"

// waitLimit is the time limit of everything that a script waits for.
const waitLimit = 90 * time.Second

// fixture holds what all scripts share.
type fixture struct {
	bin    string
	images map[string]v1.Image
}

func TestScripts(t *testing.T) {
	testns.NeedRoot(t)
	needPrograms(t, "crun", "conmon", "nft", "conntrack", "curl", "apt-get")
	e := fixture{bin: build(t), images: images(t)}
	before := cgroups()
	t.Run("scripts", func(t *testing.T) { // returns after all scripts have finished
		for _, mode := range []lab.DeployMode{lab.AllInOne, lab.Split} {
			t.Run(string(mode), func(t *testing.T) { e.runScripts(t, mode, "testdata", family{}) })
			for name, kinds := range families() {
				if mode == lab.AllInOne || name == "dual" { // split mode runs only with dual-stack
					t.Run(string(mode)+"-"+name, func(t *testing.T) {
						e.runScripts(t, mode, "testdata/families", kinds)
					})
				}
			}
		}
	})
	for name := range remaining(before) {
		t.Errorf("left behind: cgroup %s", name)
	}
}

// remaining returns the new cgroups that stay without a process. Cgroups of other agents on the
// machine are empty for a moment only, when they are created and removed.
func remaining(before map[string]bool) map[string]bool {
	left := cgroups()
	maps.DeleteFunc(left, func(name string, _ bool) bool { return before[name] })
	deadline := time.Now().Add(waitLimit)
	for ; len(left) > 0 && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		now := cgroups()
		maps.DeleteFunc(left, func(name string, _ bool) bool { return !now[name] })
	}
	return left
}

// container matches the container ID in the name of a cgroup.
var container = regexp.MustCompile(`[0-9a-f]{64}`)

// cgroups returns the cgroups of containers without a process.
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
				t.Fatalf("%s is not installed; run make setup", name)
			}
			t.Skipf("needs %s installed", name)
		}
	}
}

// build builds the binaries. The machine of deploy/vm has binaries, because building there is slow.
func build(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("FAIRLEAD_BIN"); bin != "" {
		return bin
	}

	bin := t.TempDir()
	packages := map[string]string{
		"fairlead":       "./ctl/cmd/fairlead",
		"fairlead-agent": "./services/cmd/fairlead-agent",
		"fairlead-store": "./services/cmd/fairlead-store",
		"fairlead-cni":   "./ctl/cmd/fairlead-cni",
	}
	for name, pkg := range packages {
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

	return map[string]v1.Image{
		"library/busybox:latest": busybox, "library/nginx:latest": nginx, "library/nginx:1": nginx,
	}
}

// runScripts runs all scripts of a directory in one deployment mode.
func (e fixture) runScripts(t *testing.T, mode lab.DeployMode, dir string, kinds family) {
	testscript.Run(t, testscript.Params{
		Dir:                dir,
		RequireUniqueNames: true,
		Setup:              func(env *testscript.Env) error { return e.setup(env, mode) },
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
			"collector":      startCollector,
			"traces":         traces,
			"programs":       programs,
			"crash-launches": crashLaunches,
			"crash-networks": crashNetworks,
			"crash-while":    crashWhile,
			"hostile-image":  e.hostileImage,
			"hammer":         hammer,
			"restart-storm":  restartStorm,
			"crowd":          crowd,
			"policy-soak":    policySoak,
		},
	})
}

// scriptEnv is the lab of a script.
type scriptEnv struct {
	*lab.Lab
	env      *testscript.Env
	agent    *lab.Agent
	registry *registry.Registry
	server   io.Closer // of the registry

	collector *testcollector.Collector
}

// envKey is the key of the scriptEnv in the values of a script.
type envKey struct{}

func of(ts *testscript.TestScript) *scriptEnv { return ts.Value(envKey{}).(*scriptEnv) }

// setup creates the lab of a script and starts its registry and its agent.
func (e fixture) setup(env *testscript.Env, mode lab.DeployMode) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	l, err := lab.New(ctx)
	if err != nil {
		return err
	}

	s := &scriptEnv{Lab: l, env: env}
	env.Values[envKey{}] = s
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
	if hasClients("buildkitd") {
		path, _ := filepath.Abs(filepath.Join(clientsDir, "buildkitd")) // it fails only without a working directory
		keys["buildkitd"] = path
	}

	s.agent, err = l.NewAgent(e.bin, mode, keys)
	if err != nil {
		return err
	}

	s.setVariables(e.bin)
	return s.agent.Start(ctx)
}

func (s *scriptEnv) setVariables(bin string) {
	clients, _ := filepath.Abs(clientsDir) // it fails only without a working directory
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
		"DOCKER_HOST":   "unix://" + s.agent.ExecRoot() + "/docker.sock",
		"DOCKER_CONFIG": clients, // where docker finds compose and buildx
		"BUILDX_CONFIG": s.Dir + "/buildx",
	} {
		s.env.Setenv(name, value)
	}

	s.env.Setenv("PATH", clients+":"+clients+"/libraries:"+s.env.Getenv("PATH")+":/usr/sbin:/sbin")
	s.setMachines(s.env.Setenv)
}

// setMachines sets the variables of the programs host and client. A reboot creates new machines.
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

// end deletes the lab of the script and logs the output of the agent.
func (s *scriptEnv) end() {
	if s.agent != nil {
		s.env.T().Log(s.agent.Log())
	}

	if s.server != nil {
		s.disconnectRegistry()
	}

	if s.collector != nil {
		s.collector.Stop()
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
