#!/usr/bin/env bash
# Builds Docker's own clients into .cache/clients, for the tests of the Docker Engine API: `clients.sh NAME…` with
# docker, docker-28, compose, buildx, buildkitd, libraries or cri. The name etcd builds servers of etcd for the tests of
# fleets. What is built of the version wanted is not built again.
#
# compose, buildx and buildkitd are tools of deploy/clients.mod. The module of the docker command line lacks go.mod: it
# is built in a copy of its directory, with the module's own vendor.mod in that place.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.cache/clients
export CGO_ENABLED=0

fail() {
  echo "clients: $*" >&2
  exit 1
}

version() { # PATH: the version of a module in deploy/clients.mod
  awk -v path="$1" '$1 == path || $2 == path { print $NF; exit }' <(sed 's, *//.*,,' deploy/clients.mod)
}

built() { # NAME VERSION: reports whether this version was built
  [ -x "$bin/$1" ] && [ "$(cat "$bin/$1.version" 2>/dev/null)" = "$2" ]
}

install_built() { # FILE NAME VERSION
  mkdir -p "$bin/$(dirname "$2")"
  mv "$1" "$bin/$2"
  echo "$3" >"$bin/$2.version"
}

docker() { # NAME VERSION: the command line, of the module github.com/docker/cli
  if built "$1" "$2"; then return; fi
  echo "clients: building docker $2"
  local copy dir
  dir=$(go mod download -json "github.com/docker/cli@v$2+incompatible" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  [ -d "$dir" ] || fail "docker $2: the module proxy does not have it"
  mkdir -p "$bin"
  copy=$(mktemp -d "$bin/source-XXXX")
  cp -r --no-preserve=mode "$dir/." "$copy"
  (
    cd "$copy"
    rm -rf vendor
    mv vendor.mod go.mod
    mv vendor.sum go.sum
    # The module proxy lacks two dependencies: a release of swarmkit, whose predecessor serves, and a module that reports
    # whether macOS translates the program.
    go mod edit -replace github.com/moby/swarmkit/v2=github.com/moby/swarmkit/v2@v2.1.2
    mkdir rosetta
    printf 'package rosetta\n\nfunc Enabled() bool { return false }\n' >rosetta/rosetta.go
    printf 'module github.com/tonistiigi/go-rosetta\n' >rosetta/go.mod
    go mod edit -replace github.com/tonistiigi/go-rosetta=./rosetta
    GOFLAGS='-trimpath -mod=mod' go build -ldflags "-s -w -X github.com/docker/cli/cli/version.Version=$2" -o built ./cmd/docker
  ) || { rm -rf "$copy"; fail "docker $2: not built"; }
  install_built "$copy/built" "$1" "$2"
  rm -rf "$copy"
}

tool() { # NAME PACKAGE MODULE VARIABLE: a tool of deploy/clients.mod
  local of
  of=$(version "$3")
  if built "$1" "$of"; then return; fi
  echo "clients: building $1 $of"
  mkdir -p "$bin"
  go build -trimpath -modfile=deploy/clients.mod -ldflags "-s -w -X $4=$of" -o "$bin/new-$$" "$2" || fail "$1 $of: not built"
  install_built "$bin/new-$$" "$1" "$of"
}

# The programs that use the engine by one client library for Go each. Their version is the checksum of their source.
libraries() {
  local name of source=deploy/e2e/testdata/libraries/go
  of=$(cd "$source" && sha256sum go.mod go.sum ./*/*.go | sha256sum)
  for name in moby fsouza dockertest testcontainers; do
    if built "libraries/$name" "$of"; then continue; fi
    echo "clients: building the program of $name"
    mkdir -p "$bin"
    go -C "$source" build -trimpath -ldflags '-s -w' -o "$bin/new-$$" "./$name" || fail "$name: not built"
    install_built "$bin/new-$$" "libraries/$name" "$of"
  done
}

# The programs that use the engine by one client library for Node each, with the libraries of package-lock.json.
node_libraries() {
  local of copy source=deploy/e2e/testdata/libraries/node
  if ! command -v npm >/dev/null || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    echo 'clients: libraries for Node: left out, as they need npm and node 20 or newer'
    return
  fi
  of=$(cd "$source" && sha256sum ./* | sha256sum)
  if [ "$(cat "$bin/node.version" 2>/dev/null)" = "$of" ]; then return; fi
  echo 'clients: installing libraries for Node'
  mkdir -p "$bin"
  copy=$(mktemp -d "$bin/source-XXXX")
  cp "$source"/* "$copy"
  npm ci --prefix "$copy" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null ||
    { rm -rf "$copy"; fail 'libraries for Node: not installed'; }
  rm -rf "$bin/node"
  mv "$copy" "$bin/node"
  echo "$of" >"$bin/node.version"
}

# Kubernetes' container runtime and its clients, which use the CNI plugin. critest is a test program.
cri() {
  local of="$1 $2" dir new=$bin/cri-$$
  if [ -x "$bin/cri/critest" ] && [ "$(cat "$bin/cri/version" 2>/dev/null)" = "$of" ]; then return; fi
  echo "clients: building containerd $1, crictl and critest $2"
  mkdir -p "$new"
  dir=$(go mod download -json "sigs.k8s.io/cri-tools@v$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  {
    GOBIN=$new go install -trimpath -ldflags "-s -w -X github.com/containerd/containerd/v2/version.Version=$1" \
      "github.com/containerd/containerd/v2/cmd/containerd@v$1" \
      "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@v$1" &&
      GOBIN=$new go install -trimpath -ldflags '-s -w' "sigs.k8s.io/cri-tools/cmd/crictl@v$2" &&
      go -C "$dir" test -c -trimpath -ldflags '-s -w' -o "$new/critest" ./cmd/critest
  } || { rm -rf "$new"; fail "containerd $1, cri-tools $2: not built"; }
  rm -rf "$bin/cri"
  mv "$new" "$bin/cri"
  echo "$of" >"$bin/cri/version"
}

# Servers of etcd, each with the modules of deploy/e2e/testdata/etcd/VERSION.
etcd() {
  local of source
  for source in deploy/e2e/testdata/etcd/*/; do
    of=$(basename "$source")
    if built "etcd-$of" "$of"; then continue; fi
    echo "clients: building etcd $of"
    mkdir -p "$bin"
    go -C "$source" build -trimpath -ldflags '-s -w' -o "$bin/new-$$" go.etcd.io/etcd/server/v3 || fail "etcd $of: not built"
    install_built "$bin/new-$$" "etcd-$of" "$of"
  done
}

for name in "$@"; do
  case $name in
  docker) docker docker 29.9.3 ;;
  docker-28) docker docker-28 28.5.2 ;;
  compose) tool cli-plugins/docker-compose github.com/docker/compose/v5/cmd github.com/docker/compose/v5 \
    github.com/docker/compose/v5/internal.Version ;;
  buildx) tool cli-plugins/docker-buildx github.com/docker/buildx/cmd/buildx github.com/docker/buildx \
    github.com/docker/buildx/version.Version ;;
  libraries) libraries && node_libraries ;;
  etcd) etcd ;;
  buildkitd) tool buildkitd github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit \
    github.com/moby/buildkit/version.Version ;;
  cri) cri 2.4.2 1.37.0 ;;
  *) fail "$name: unknown client" ;;
  esac
done
