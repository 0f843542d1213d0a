// Package config holds the example configuration that is installed as /etc/fairlead/daemon.json. Its tests load it as the agent does.
// There is no code in it but tests; the keys' meaning is package agent/config's.
package config
