#!/usr/bin/env bash
# Runs each fuzz test for a while: `fuzz.sh [TIME]`, ten seconds if none is given.
set -euo pipefail
cd "$(dirname "$0")/.."

git grep -lE '^func Fuzz' -- '*_test.go' | while read -r file; do
  grep -oE '^func Fuzz\w+' "$file" | while read -r _ name; do
    echo "== $(dirname "$file") $name"
    go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${1:-10s}"
  done
done
