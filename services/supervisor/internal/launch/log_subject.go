package launch

import (
	"os"

	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/services/supervisor/internal/container"
	"github.com/fairlead/fairlead/services/supervisor/internal/logdriver"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime/sink"
)

// LogSubject returns what the records of a container's log can be labeled with.
func LogSubject(c *container.Container) logdriver.Subject {
	s := logdriver.Subject{ContainerID: c.ID, ContainerName: c.Config.Name, ContainerImageID: c.ImageID,
		ContainerImageName: c.Config.Image, ContainerEnv: c.Process.Env, ContainerLabels: c.Process.Labels,
		ContainerHostname: c.Config.DNS.Hostname, DaemonName: "fairlead-agent"}
	if len(c.Process.Args) > 0 {
		s.ContainerEntrypoint, s.ContainerArgs = c.Process.Args[0], c.Process.Args[1:]
	}
	return s
}

// sinkOf returns where the container's output is written. size is that of one file.
func sinkOf(l *launch, size int64) sink.Sink {
	var out sink.Sink
	log := l.req.Config.Log
	if log.WritesFiles() {
		out.Path, out.MaxSize = l.r.LogPath(l.id), size
	}
	if log.Driver == logdriver.Journald {
		c := &container.Container{ID: l.id, Config: l.req.Config, ImageID: l.image.ID, Process: *l.process}
		c.Config.Name = l.name
		out.Journal = &sink.Journal{Name: l.name, Tag: log.JournalTag(LogSubject(c))}
	}
	return out
}

// journalSocket is the socket of systemd-journald for programs that write records.
const journalSocket = "/run/systemd/journal/socket"

// checkJournal returns a fault if the container writes to the journal of a host that has none.
func checkJournal(subject string, cfg *container.Config) error {
	if cfg.Log.Driver != logdriver.Journald {
		return nil
	}
	if _, err := os.Stat(journalSocket); err != nil {
		return fault.New(fault.Unavailable, subject, // without the cause, in whose words docker sees exit code 127
			"failed to initialize logging driver: journald is not enabled on this host")
	}
	return nil
}
