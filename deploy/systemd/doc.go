// Package systemd holds the units: fairlead.service for all-in-one mode, fairlead.target for split
// mode. It contains only tests, which check the units with systemd-analyze and check their options.
package systemd
