#!/bin/sh
# Runs after the files of the package were installed or upgraded.
set -eu

# Containers run on while their agent restarts. An agent that does not run is not started.
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart fairlead.service 'fairlead-*.service' || true
fi
