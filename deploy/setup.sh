#!/usr/bin/env bash
# Installs what building, running and testing Fairlead need and this machine lacks. Nothing happens where all is there.
# On Debian and its children by apt-get; elsewhere it says what to install.
set -euo pipefail

# A program, the Debian package that has it, and what other distributions call that.
needs='
crun        crun             crun
conmon      conmon           conmon
nft         nftables         nftables
iptables    iptables         iptables
ip          iproute2         iproute(2)
conntrack   conntrack        conntrack-tools
busybox     busybox-static   busybox
curl        curl             curl
nsenter     util-linux       util-linux
dpkg-deb    dpkg             dpkg
shellcheck  shellcheck       ShellCheck
systemd-analyze systemd      systemd
'

missing() { # COLUMN: that column of the rows whose program is not there
  while read -r program debian other; do
    [ -n "$program" ] || continue
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || { [ "$1" = debian ] && echo "$debian" || echo "$other"; }
  done <<<"$needs" | sort -u | tr '\n' ' '
}

if ! command -v go >/dev/null 2>&1; then
  echo "setup: go: not found in PATH; install Go $(sed -n 's/^go //p' "$(dirname "$0")/../go.mod") or newer" >&2
  exit 1
fi

# The images of demo, tests and benchmarks are made of Debian packages, which apt must know of.
lists_missing() { [ ! -e "$(dirname "$0")/../.cache/debs" ] && ! apt-cache show nginx >/dev/null 2>&1; }

if ! command -v apt-get >/dev/null 2>&1; then
  [ -z "$(missing other)" ] || { echo "setup: please install: $(missing other)" >&2; exit 1; }
  exit 0
fi

read -ra packages <<<"$(missing debian)"
if [ ${#packages[@]} -gt 0 ] || lists_missing; then
  [ "$(id -u)" = 0 ] || { echo "setup: run this as root; it would install: ${packages[*]}" >&2; exit 1; }
  echo "setup: installing ${packages[*]:-nothing but package lists}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  [ ${#packages[@]} = 0 ] || apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
  [ -z "$(missing debian)" ] || { echo "setup: still missing: $(missing debian)" >&2; exit 1; }
fi
