#!/bin/sh
# Runs before the files of the package are removed. It does nothing before an upgrade: $1 is "remove" or 0 otherwise.
set -eu

case ${1:-} in
  remove | 0) ;;
  *) exit 0 ;;
esac

units='fairlead.target fairlead.service fairlead-net.service fairlead-nat.service fairlead-dns.service
fairlead-fleet.service fairlead-supervisor.service'
active=
if [ -d /run/systemd/system ]; then
  for unit in $units; do
    if systemctl -q is-active "$unit"; then active="$active $unit"; fi
  done
  # shellcheck disable=SC2086 # a list
  systemctl stop $units
fi

# Removes all network state from the host. It refuses while containers run: nothing else could remove it later.
if ! fairlead-agent cleanup; then
  # shellcheck disable=SC2086
  [ -z "$active" ] || systemctl start $active
  # shellcheck disable=SC2016 # a command to type
  echo 'fairlead: not removed; stop the containers first: fairlead stop $(fairlead ps -q)' >&2
  exit 1
fi

if [ -d /run/systemd/system ]; then
  # shellcheck disable=SC2086
  systemctl disable $units
fi
