package e2e

import (
	"context"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
)

// layOver mounts overlays on /usr and /etc of the host, with unpacked packages below the files of
// the machine, and a tmpfs on /run. Writes affect only the host.
const layOver = `set -e
mkdir "$LAB/o"
mount -t tmpfs tmpfs "$LAB/o"
cd "$LAB/o"
mkdir usr usr-work etc etc-work
cp /etc/hosts /etc/resolv.conf etc
mount -t overlay -o "lowerdir=/usr:$1/usr,upperdir=usr,workdir=usr-work" overlay /usr
mount -t overlay -o "lowerdir=/etc:$1/etc,upperdir=etc,workdir=etc-work" overlay /etc
mount -t tmpfs tmpfs /run
`

// programs PACKAGE… makes Debian packages available on the host without installing them.
func programs(ts *testscript.TestScript, _ bool, packages []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	root, err := debimage.Cache{Dir: cacheDir}.Programs(ctx, packages...)
	must(ts, err)
	must(ts, ts.Exec("host", "sh", "-c", layOver, "lay-over", root))
}
