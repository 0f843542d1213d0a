#!/usr/bin/env bash
# Installs what Fairlead needs and this machine lacks: `setup.sh run` what running it needs, `setup.sh test` what its tests need too.
# On Debian and its children by apt-get; elsewhere it says what to install. Where all is there, nothing happens.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/sbin:/sbin"

# For what, a program, the Debian package that has it, and what other distributions call that.
needs='
run   crun             crun            crun
run   conmon           conmon          conmon
run   catatonit        catatonit       catatonit
run   nft              nftables        nftables
run   iptables         iptables        iptables
run   ip               iproute2        iproute
run   ss               iproute2        iproute
run   curl             curl            curl
run   conntrack        conntrack       conntrack-tools
run   ps               procps          procps
test  busybox          busybox-static  busybox
test  /usr/bin/python3 python3         python3
test  nsenter          util-linux      util-linux
test  nc.openbsd       netcat-openbsd  netcat
test  jq               jq              jq
test  shellcheck       shellcheck      ShellCheck
test  systemd-analyze  systemd         systemd
test  runc             runc            runc
test  dnsmasq          dnsmasq-base    dnsmasq
test  skopeo           skopeo          skopeo
test  umoci            umoci           umoci
test  docker-registry  docker-registry docker-distribution
test  qemu-system-x86_64 qemu-system-x86 qemu-system-x86
test  depmod           kmod            kmod
test  tcpdump          tcpdump         tcpdump
test  zsh              zsh             zsh
test  rpm              rpm             rpm
test  man              man-db          man-db
test  fish             fish            fish
test  /usr/share/bash-completion/bash_completion bash-completion bash-completion
'

missing() { # debian|other: the names there of what is not here
  while read -r for program debian other; do
    [ "$for" = run ] || [ "$for" = "$purpose" ] || continue
    if command -v "$program" >/dev/null 2>&1 || [ -e "$program" ]; then continue; fi
    if [ "$1" = debian ]; then echo "$debian"; else echo "$other"; fi
  done <<<"$needs" | sort -u | tr '\n' ' '
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

purpose=${1:-test}
command -v go >/dev/null 2>&1 || fail "go: not found in PATH; install Go $(sed -n 's/^go //p' go.mod) or newer"

if ! command -v apt-get >/dev/null 2>&1; then
  [ -z "$(missing other)" ] || fail "please install: $(missing other)"
  [ -d .cache/images ] || fail "demo, tests and benchmarks make their images of Debian's packages by apt-get, which is not here"
  exit 0
fi

read -ra packages <<<"$(missing debian)"
# The images of demo, tests and benchmarks are made of Debian's packages, which apt must know of.
if [ ${#packages[@]} = 0 ] && { [ -d .cache/images ] || apt-cache show nginx >/dev/null 2>&1; }; then
  exit 0
fi
[ "$(id -u)" = 0 ] || fail "run this as root, to install: ${packages[*]:-package lists}"
echo "setup: installing ${packages[*]:-package lists}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
if [ ${#packages[@]} != 0 ]; then
  apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi
[ -z "$(missing debian)" ] || fail "still missing: $(missing debian)"
