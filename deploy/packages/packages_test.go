package packages

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../.."

// build builds a package and returns its path.
func build(t *testing.T, kind string) string {
	t.Helper()
	if output(t, "deploy/package.sh", "ready") != nil && os.Getenv("CI") == "" {
		t.Skip("needs nfpm; make deb builds it")
	}

	dir := t.TempDir()
	if err := output(t, "make", kind, "DIST="+dir); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(dir, "*."+kind))
	if len(found) != 1 {
		t.Fatalf("got packages %v, want one", found)
	}
	return found[0]
}

// output runs a program in the root directory of the repository and logs its output if it fails.
func output(t *testing.T, name string, args ...string) error {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = top, &out, &out
	err := cmd.Run()
	if err != nil && out.Len() > 0 {
		t.Logf("%s %v: %v\n%s", name, args, err, out.String())
	}
	return err
}

// machine is a copy of the root file system of this machine: an overlay in a mount namespace of its own.
// Its upper directory has what commands change.
type machine struct{ dir string }

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{dir: t.TempDir()}
	for _, name := range []string{"upper", "work", "root", "packages"} {
		if err := os.Mkdir(filepath.Join(m.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// sh runs a shell script on the machine and returns its output. $packages is a directory with packages.
func (m machine) sh(script string) (string, error) {
	const enter = `set -eu
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root"
mount -t tmpfs tmpfs "$0/root/tmp"
mount --rbind /dev "$0/root/dev"
mount -t proc proc "$0/root/proc"
mkdir "$0/root/tmp/packages"
mount --bind "$0/packages" "$0/root/tmp/packages"
exec chroot "$0/root" sh -euc "$1"`
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--net",
		"sh", "-c", enter, m.dir, script)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "packages=/tmp/packages", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is like sh. The script must succeed.
func (m machine) run(t *testing.T, script string) string {
	t.Helper()
	out, err := m.sh(script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// add makes a package available on the machine as $packages/NAME.
func (m machine) add(t *testing.T, path, name string) {
	t.Helper()
	if err := os.Link(path, filepath.Join(m.dir, "packages", name)); err != nil {
		t.Fatal(err)
	}
}

// files returns the files that commands have left on the machine, except the databases of dpkg and rpm.
func (m machine) files(t *testing.T) []string {
	t.Helper()
	var found []string
	other := regexp.MustCompile(`^(var/(lib/(dpkg|rpm)|cache|log)|tmp|dev|proc|root)(/|$)|/\.rpm`)
	upper := filepath.Join(m.dir, "upper")
	err := filepath.WalkDir(upper, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(upper, path)
		if err == nil && !e.IsDir() && e.Type()&os.ModeCharDevice == 0 && !other.MatchString(name) {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// check checks an installed package: programs run, man finds the pages, shells find completions, and
// systemd accepts the units.
func (m machine) check(t *testing.T) {
	t.Helper()
	out := m.run(t, `fairlead --version; fairlead-agent --version; fairlead-store --version
/usr/lib/cni/fairlead-cni --version
fairlead-agent --validate
man -w fairlead fairlead-run fairlead-network-create fairlead-agent fairlead-daemon.json fairlead-store
man --warnings fairlead-run 2>&1 | head -n 400
bash -c '. /usr/share/bash-completion/completions/fairlead; complete -p fairlead'
ls /usr/share/zsh/vendor-completions/_fairlead /usr/share/zsh/site-functions/_fairlead
ls /usr/share/fish/vendor_completions.d/fairlead.fish
ls -l /usr/share/doc/fairlead/copyright /usr/share/doc/fairlead/licenses/github.com/spf13/cobra
cat /usr/lib/systemd/system/fairlead*.service | grep ExecStart=`)
	for _, want := range []string{
		"fairlead-agent version v", "fairlead-cni version v", "configuration OK",
		"/usr/share/man/man1/fairlead-network-create.1.gz",
		"/usr/share/man/man5/fairlead-daemon.json.5.gz", "/usr/share/man/man8/fairlead-agent.8.gz",
		"--publish", "Create and start a container", "ExecStart=/usr/bin/fairlead-agent net",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "mdoc warning") || strings.Contains(out, "<standard input>") {
		t.Errorf("man warns:\n%s", out)
	}
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed; run make setup", name)
			}
			t.Skipf("needs %s; make setup installs it", name)
		}
	}
}

func TestDebianPackageInstallsAndLeavesNothing(t *testing.T) {
	need(t, "dpkg", "man")
	m := newMachine(t)
	m.add(t, build(t, "deb"), "fairlead.deb")
	out := m.run(t, "dpkg -i $packages/fairlead.deb; dpkg -V fairlead; dpkg -s fairlead")
	for _, want := range []string{"Status: install ok installed", "conmon, crun | runc"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	m.check(t)

	// An edited configuration survives an upgrade and the removal, not the purge.
	out = m.run(t, `echo '{"debug": true}' >/etc/fairlead/daemon.json
dpkg -i $packages/fairlead.deb
dpkg -r fairlead
cat /etc/fairlead/daemon.json`)
	if !strings.Contains(out, `{"debug": true}`) {
		t.Errorf("the configuration is lost:\n%s", out)
	}
	if left := m.files(t); strings.Join(left, " ") != "etc/fairlead/daemon.json" {
		t.Errorf("remove left %v, want only the configuration", left)
	}
	m.run(t, "dpkg -P fairlead; ! test -e /etc/fairlead")
	if left := m.files(t); left != nil {
		t.Errorf("purge left %v", left)
	}
}

// TestRPMPackageInstallsAndLeavesNothing installs without dependencies: the database of rpm is empty here.
func TestRPMPackageInstallsAndLeavesNothing(t *testing.T) {
	need(t, "rpm", "man")
	m := newMachine(t)
	m.add(t, build(t, "rpm"), "fairlead.rpm")
	out := m.run(t, `rpm -qp --requires $packages/fairlead.rpm
rpm -qpi $packages/fairlead.rpm
rpm -i --force-debian --nodeps $packages/fairlead.rpm
rpm -V --nodeps fairlead`)
	for _, want := range []string{"conmon", "(crun or runc)", "License     : Apache-2.0"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	m.check(t)

	out = m.run(t, `echo '{"debug": true}' >/etc/fairlead/daemon.json
rpm -U --force --force-debian --nodeps $packages/fairlead.rpm
cat /etc/fairlead/daemon.json
rpm -e --force-debian --nodeps fairlead 2>&1
rm -rf /etc/fairlead`)
	if !strings.Contains(out, `{"debug": true}`) {
		t.Errorf("the configuration is lost:\n%s", out)
	}
	if left := m.files(t); left != nil {
		t.Errorf("remove left %v", left)
	}
}
