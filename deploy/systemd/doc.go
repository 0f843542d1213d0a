// Package systemd holds the units that start Fairlead at boot: fairlead.service for all agents in one process, fairlead.target for
// one process an agent. Its tests run systemd's own checks on them, and keep what those cannot know. There is no code in it but tests.
package systemd
