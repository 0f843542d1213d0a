// Package config holds the example configuration, installed as /etc/fairlead/daemon.json. It has no
// code but tests, which load the file as the agent does. Package agent/config defines the keys.
package config
