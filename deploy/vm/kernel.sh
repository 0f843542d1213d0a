#!/usr/bin/env bash
# Downloads Debian's stock kernel with its modules to .cache/vm/kernel, unless it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin:/sbin"
dir=.cache/vm/kernel
recipe=2 # version of the selected files; a new number causes a download
[ "$(cat "$dir/recipe" 2>/dev/null)" != "$recipe" ] || exit 0

fail() {
  echo "vm: $*" >&2
  exit 1
}

for program in apt-get dpkg-deb depmod; do
  command -v "$program" >/dev/null 2>&1 || fail "$program: not found; the kernel of the machine comes from Debian's package linux-image-amd64"
done
package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: //p')
[ -n "$package" ] || fail "apt knows no linux-image-amd64; run apt-get update"

# Unpack to another directory and move it when it is complete, so that a killed run leaves no
# incomplete kernel.
mkdir -p .cache/vm
new=$(mktemp -d .cache/vm/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
echo "vm: fetching $package" >&2
(cd "$new" && apt-get -qq -o APT::Sandbox::User=root download "$package")
# Remove drivers of hardware that the machine does not have, three quarters of the package.
dpkg-deb --fsys-tarfile "$new/$package"_*.deb | tar -x -C "$new" --wildcards --exclude='*/kernel/sound' \
  --exclude='*/drivers/gpu' --exclude='*/drivers/media' --exclude='*/drivers/scsi' --exclude='*/drivers/usb' \
  --exclude='*/drivers/infiniband' --exclude='*/drivers/staging' --exclude='*/net/ethernet' --exclude='*/drivers/net/wireless/*/*/*' ./boot ./lib
rm "$new"/*.deb
release=${package#linux-image-}
mv "$new/boot/vmlinuz-$release" "$new/vmlinuz"
rm -r "${new:?}/boot"
depmod -b "$new" "$release"
echo "$release" >"$new/release"
echo "$recipe" >"$new/recipe"
chmod 755 "$new"
rm -rf "$dir"
mv "$new" "$dir"
trap - EXIT
