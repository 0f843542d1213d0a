#!/bin/sh
# Configures an interface with its DHCP lease. udhcpc of busybox calls it.
# shellcheck disable=SC2154 # udhcpc sets them
set -eu
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
ip route replace default via "$router" dev "$interface"
