package missing

const (
	swarm  = "Fairlead manages one host and has no Swarm mode"
	noNeed = "Fairlead has no such feature; fairlead --help lists all commands"
)

// verbs returns Docker's commands, each with an alternative.
func verbs() map[string]string {
	return map[string]string{
		"build":      "build with buildah, or docker build and docker save, then: fairlead load -i FILE",
		"builder":    "build with buildah, or docker build and docker save, then: fairlead load -i FILE",
		"buildx":     "build with buildah, or docker build and docker save, then: fairlead load -i FILE",
		"checkpoint": "Fairlead has no checkpoints; stop and start the container",
		"compose": "create a network and run each container on it: fairlead network create app; " +
			"fairlead run -d --network app …",
		"config create":  swarm + "; bind mount a file: -v /etc/app.conf:/etc/app.conf:ro",
		"config inspect": swarm,
		"config ls":      swarm,
		"config rm":      swarm,
		"context":        "set the agent address with -H or FAIRLEAD_HOST",
		"manifest":       "inspect manifests in the registry with skopeo inspect --raw docker://IMAGE",
		"node":           swarm,
		"plugin":         noNeed,
		"scout":          noNeed,
		"secret":         swarm + "; bind mount a file: -v /etc/secrets/key:/run/secrets/key:ro",
		"service":        swarm,
		"stack":          swarm,
		"swarm":          swarm,
		"system dial-stdio": "forward the socket: ssh -L /tmp/f.sock:/run/fairlead/fairlead.sock HOST, then " +
			"fairlead -H unix:///tmp/f.sock",
		"trust": noNeed,
	}
}

// flagEntry holds flags of one or more commands with their alternative.
type flagEntry struct{ commands, names, instead string }

// flags returns flags of Docker's commands, each with an alternative.
func flags() []flagEntry {
	return []flagEntry{
		{"", "c context", "set the agent address with -H or FAIRLEAD_HOST"},
		{"", "config", "set the directory of the credentials with DOCKER_CONFIG"},
		{"", "l log-level", "use -D to print each launch step; fairlead-agent --log-level sets the agent's level"},
		{"", "tls", "use --tlsverify"},
		{"run create", "kernel-memory", "omit it: the memory limit includes kernel memory"},
		{"run create", "cpu-rt-period cpu-rt-runtime", "use --cpu-shares or --cpus"},
		{"run create", "cpu-count cpu-percent", "omit it: it applies to Windows only"},
		{"run create", "isolation", "omit it: it applies to Windows only"},
		{"run create", "storage-opt", "use --tmpfs PATH:size=64m, or limit the data root's file system"},
		{"run create pull", "disable-content-trust", "omit it; pull the image by its digest: NAME@sha256:…"},
		{"run create", "use-api-socket",
			"bind mount the agent's socket: -v /run/fairlead/fairlead.sock:/run/fairlead/fairlead.sock"},
		{"rm", "l link", "links are removed with their container; use fairlead network disconnect for networks"},
		{"start", "checkpoint checkpoint-dir", "Fairlead has no checkpoints; stop and start the container"},
		{"images", "tree", "fairlead inspect IMAGE shows its platform"},
	}
}
