#!/usr/bin/env bash
# Builds packages with nfpm: `package.sh deb VERSION DIR` and `package.sh rpm VERSION DIR` write one to DIR, `package.sh ready`
# checks that nfpm is built. Its first build takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.cache/tools
root=.cache/package

current() { [ -x "$tools/nfpm" ] && cmp -s deploy/packages/nfpm.mod "$tools/nfpm.mod"; }

build() {
  current && return
  echo "package: building nfpm, which takes minutes the first time" >&2
  mkdir -p "$tools"
  GOBIN=$tools CGO_ENABLED=0 go install -modfile=deploy/packages/nfpm.mod tool
  cp deploy/packages/nfpm.mod "$tools/nfpm.mod"
}

# The licenses of all modules in the binaries, which ask to be distributed with them.
licenses() { # to a directory
  go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' \
    ./ctl/cmd/fairlead ./ctl/cmd/fairlead-cni ./services/cmd/fairlead-agent ./services/cmd/fairlead-store | sort -u |
    while read -r module dir; do
      find "$dir" -maxdepth 1 -type f \( -iname 'license*' -o -iname 'notice*' -o -iname 'copying*' \) |
        while read -r file; do install -D -m 0644 "$file" "$1/$module/$(basename "$file")"; done
    done
}

case ${1:-} in
  ready)
    current
    ;;
  deb | rpm)
    build
    rm -rf "$root"
    make --no-print-directory install VERSION="$2" DESTDIR="$root" >&2
    install -D -m 0644 LICENSE "$root/usr/share/doc/fairlead/copyright"
    licenses "$root/usr/share/doc/fairlead/licenses"
    mkdir -p "$3"
    VERSION=$2 ARCH=$(go env GOARCH) "$tools/nfpm" package --config deploy/packages/nfpm.yaml --packager "$1" --target "$3"
    ;;
  *)
    echo "usage: $0 deb|rpm VERSION DIR, or $0 ready" >&2
    exit 2
    ;;
esac
