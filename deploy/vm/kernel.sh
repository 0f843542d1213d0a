#!/usr/bin/env bash
# Puts Debian's stock kernel, whose modules are what users have, in .cache/vm/kernel, without installing it. Where it is, nothing happens.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin:/sbin"
dir=.cache/vm/kernel
recipe=2 # what is kept of the package; another number has it fetched again
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

# Unpacked beside and moved when whole, so that a killed run leaves no half of a kernel that looks like one.
mkdir -p .cache/vm
new=$(mktemp -d .cache/vm/new.XXXXXX)
trap 'rm -rf "$new"' EXIT
echo "vm: fetching $package" >&2
(cd "$new" && apt-get -qq -o APT::Sandbox::User=root download "$package")
# What drives hardware that the machine does not have is three quarters of the package.
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
