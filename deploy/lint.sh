#!/usr/bin/env bash
# Checks formatting, go vet and the shell scripts; staticcheck too where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files '*.go' | grep -v '^proto/gen/' | xargs gofmt -l)
[ -z "$unformatted" ] || { printf 'gofmt would change:\n%s\n' "$unformatted" >&2; exit 1; }
{ git ls-files '*.sh'; echo .ci/run; } | xargs shellcheck
go vet ./...
if command -v staticcheck >/dev/null 2>&1; then
  staticcheck ./...
fi
