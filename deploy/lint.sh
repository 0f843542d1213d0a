#!/usr/bin/env bash
# lint.sh checks formatting, go vet, staticcheck, dead code and the shell scripts.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/.cache/tools

unformatted=$(git ls-files '*.go' | grep -v '^proto/gen/' | xargs gofmt -l)
[ -z "$unformatted" ] || { printf 'gofmt would change:\n%s\n' "$unformatted" >&2; exit 1; }

{ git ls-files '*.sh'; echo .ci/run; } | xargs shellcheck
go vet ./...

if ! [ -x "$tools/staticcheck" ] || ! [ -x "$tools/deadcode" ]; then
  echo "lint: building staticcheck and deadcode" >&2
  mkdir -p "$tools"
  GOBIN=$tools CGO_ENABLED=0 go install -modfile=deploy/tools.mod tool
fi
"$tools/staticcheck" ./...

dead=$("$tools/deadcode" -test ./... | grep -v '_test.go:' || true)
[ -z "$dead" ] || { printf 'dead code:\n%s\n' "$dead" >&2; exit 1; }
