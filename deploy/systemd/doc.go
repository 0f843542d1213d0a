// Package systemd holds the units: fairlead.service for all-in-one mode, fairlead.target for split
// mode. It has no code but tests, which run systemd's checks and some more.
package systemd
