package builddoc

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"

	"github.com/fairlead/fairlead/services/engine/internal/buildkit"
	"github.com/fairlead/fairlead/services/engine/internal/translate/imagedoc"
)

// Progress turns the progress of a build into the lines of POST /build.
type Progress struct {
	steps  map[string]bool // digests of steps that are shown
	cached map[string]bool
	failed string // the error of the first step that failed
}

// stepName matches the name of a step: "[2/3] RUN x" or "[stage 2/3] RUN x".
var stepName = regexp.MustCompile(`^\[(?:\S+ )*?(\d+)/(\d+)\] ((?s).*)$`)

// Add returns the lines for a message.
func (p *Progress) Add(s buildkit.Status) (out []imagedoc.Message) {
	if p.steps == nil {
		p.steps, p.cached = map[string]bool{}, map[string]bool{}
	}
	for _, v := range s.Vertexes {
		parts := stepName.FindStringSubmatch(v.Name)
		if parts == nil {
			continue
		}
		if v.Started && !p.steps[v.Digest] {
			p.steps[v.Digest] = true
			out = append(out, imagedoc.Stream(fmt.Sprintf("Step %s/%s : %s\n", parts[1], parts[2], parts[3])))
		}
		if v.Cached && !p.cached[v.Digest] {
			p.cached[v.Digest] = true
			out = append(out, imagedoc.Stream(" ---> Using cache\n"))
		}
		if v.Error != "" && p.failed == "" && !strings.Contains(v.Error, "context canceled") {
			p.failed = v.Error
		}
	}
	for _, l := range s.Logs {
		if p.steps[l.Vertex] {
			out = append(out, imagedoc.Stream(string(l.Data)))
		}
	}
	for _, w := range s.Warnings {
		out = append(out, imagedoc.Stream("[Warning] "+w+"\n"))
	}
	return out
}

// Built returns the last lines.
func Built(id string, tags []string) []imagedoc.Message {
	aux, _ := json.Marshal(map[string]string{"ID": id}) // a string only
	raw := json.RawMessage(aux)
	short := strings.TrimPrefix(id, "sha256:")
	out := []imagedoc.Message{{Message: jsonstream.Message{Aux: &raw}},
		imagedoc.Stream("Successfully built " + short[:min(12, len(short))] + "\n")}
	for _, tag := range tags {
		name := tag
		if named, err := reference.ParseNormalizedNamed(tag); err == nil {
			name = reference.FamiliarString(named)
		}
		out = append(out, imagedoc.Stream("Successfully tagged "+name+"\n"))
	}
	return out
}

// stepError matches BuildKit's error of a step that exits with a status.
var stepError = regexp.MustCompile(`(?s)process (".*") did not complete successfully: exit code: (\d+)$`)

// Failed returns the line of a failed build. A step that exits with a status has Docker's message.
func (p *Progress) Failed(err error) imagedoc.Message {
	parts := stepError.FindStringSubmatch(p.failed)
	if parts == nil {
		return imagedoc.Failure(strings.TrimPrefix(err.Error(), "build: "))
	}
	command, uerr := strconv.Unquote(parts[1])
	if uerr != nil {
		command = parts[1]
	}
	text := fmt.Sprintf("The command '%s' returned a non-zero code: %s", command, parts[2])
	m := imagedoc.Failure(text)
	m.Message.Error.Code, _ = strconv.Atoi(parts[2]) // digits only
	return m
}

// Trace returns the line with a message of the progress as BuildKit sent it.
func Trace(s buildkit.Status) imagedoc.Message {
	aux, _ := json.Marshal(s.Raw) // bytes only
	raw := json.RawMessage(aux)
	return imagedoc.Message{Message: jsonstream.Message{ID: "moby.buildkit.trace", Aux: &raw}}
}

// TracedID returns the line with the ID of the image for a client that reads the trace.
func TracedID(id string) imagedoc.Message {
	aux, _ := json.Marshal(map[string]string{"ID": id}) // a string only
	raw := json.RawMessage(aux)
	return imagedoc.Message{Message: jsonstream.Message{ID: "moby.image.id", Aux: &raw}}
}
