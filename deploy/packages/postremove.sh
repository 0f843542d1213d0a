#!/bin/sh
# Runs after the files of the package were removed. /var/lib/fairlead with images, containers and volumes is kept.
set -eu

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
