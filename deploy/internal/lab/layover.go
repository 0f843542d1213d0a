package lab

import "context"

// layOver mounts overlays on /usr and /etc of the host, with unpacked packages below the files of
// the machine, and a tmpfs on /run.
const layOver = `set -e
mkdir "$2/o"
mount -t tmpfs tmpfs "$2/o"
cd "$2/o"
mkdir usr usr-work etc etc-work
cp /etc/hosts /etc/resolv.conf etc
mount -t overlay -o "lowerdir=/usr:$1/usr,upperdir=usr,workdir=usr-work" overlay /usr
mount -t overlay -o "lowerdir=/etc:$1/etc,upperdir=etc,workdir=etc-work" overlay /etc
mount -t tmpfs tmpfs /run
`

// LayOver makes the unpacked packages of a directory available on the host, as if they were
// installed. Writes affect only the host.
func (l *Lab) LayOver(ctx context.Context, root string) error {
	_, err := l.Host.Output(ctx, "sh", "-c", layOver, "lay-over", root, l.Dir)
	return err
}
