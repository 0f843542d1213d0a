#!/usr/bin/env bash
# Protocol buffers: `proto.sh generate` regenerates proto/gen, `proto.sh check` lints the .proto files, their format and proto/gen,
# `proto.sh ready` checks that the tools are built. Their first build takes minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.cache/tools
PATH="$tools:$PATH"

current() { [ -x "$tools/buf" ] && cmp -s proto/tools.mod "$tools/tools.mod"; }

build() {
  current && return
  echo "proto: building buf and its plugins, which takes minutes the first time" >&2
  mkdir -p "$tools"
  GOBIN=$tools CGO_ENABLED=0 go install -modfile=proto/tools.mod tool
  cp proto/tools.mod "$tools/tools.mod"
}

case ${1:-} in
  ready)
    current
    ;;
  generate)
    build
    buf generate --template proto/buf.gen.yaml
    ;;
  check)
    build
    buf lint
    buf format --diff --exit-code
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    buf generate --template proto/buf.gen.yaml --output "$made"
    diff -r "$made/proto/gen" proto/gen || { echo "proto/gen is not what the .proto files give; run: make proto" >&2; exit 1; }
    ;;
  *)
    echo "usage: $0 generate|check|ready" >&2
    exit 2
    ;;
esac
