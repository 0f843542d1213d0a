// Package packages tests the Debian and the RPM package that deploy/package.sh builds: it installs,
// upgrades and removes them in a copy of this machine.
package packages
