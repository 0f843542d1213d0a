package imagedoc

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"

	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// Message is one line of a JSON progress stream. The fields progress and error are those of API
// versions before 1.9, which libraries still read.
type Message struct {
	jsonstream.Message
	Bar   string `json:"progress,omitempty"`
	Error string `json:"error,omitempty"`
}

// Status returns a line without a layer.
func Status(format string, args ...any) Message {
	return Message{Message: jsonstream.Message{Status: fmt.Sprintf(format, args...)}}
}

// Stream returns a line of plain output.
func Stream(text string) Message { return Message{Message: jsonstream.Message{Stream: text}} }

// Failure returns the line that ends a stream with an error.
func Failure(text string) Message {
	return Message{Message: jsonstream.Message{Error: &jsonstream.Error{Message: text}}, Error: text}
}

// layerMessage returns a line about a layer.
func layerMessage(layer, status string, done, total int64) Message {
	m := Message{Message: jsonstream.Message{ID: layer, Status: status, Progress: &jsonstream.Progress{}}}
	if total > 0 && (status == "Downloading" || status == "Extracting" || status == "Pushing") {
		*m.Progress = jsonstream.Progress{Current: done, Total: total}
		m.Bar = bar(done, total)
	}
	return m
}

// barWidth is the width of the progress bar of a layer.
const barWidth = 50

// bar returns the progress bar that clients without one of their own print.
func bar(done, total int64) string {
	full := int(min(done, total) * barWidth / total)
	head := ""
	if full < barWidth {
		head = ">"
	}
	return fmt.Sprintf("[%s%s%s] %s/%s", strings.Repeat("=", full), head,
		strings.Repeat(" ", max(0, barWidth-full-len(head))), sizeText(done), sizeText(total))
}

// sizeText returns a size in Docker's form, with four significant digits.
func sizeText(n int64) string {
	size, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	return fmt.Sprintf("%.4g%s", size, units[unit])
}

// pullStatus maps phases of a pull to Docker's words.
var pullStatus = map[string]string{
	"waiting": "Waiting", "downloading": "Downloading", "unpacking": "Extracting", "done": "Pull complete",
	"exists": "Already exists",
}

// Pull turns the progress of one pull into lines.
type Pull struct {
	Image    string // the reference that is pulled
	opened   bool
	pulled   bool              // a layer was not stored yet
	stored   []Message         // about stored layers, until another one is pulled
	previous map[string]string // the last phase of each layer
}

// Add returns the lines for a progress message.
func (p *Pull) Add(m *containerv1.Progress) (out []Message) {
	if pullStatus[m.GetStep()] == "" {
		return nil // of the whole image
	}

	layer, step := m.GetSubject(), m.GetStep()
	if line := layerMessage(layer, pullStatus[step], 0, 0); step == "exists" && !p.pulled {
		p.stored = append(p.stored, line)
		return nil
	}

	out = append(p.Open(), p.stored...)
	p.stored, p.pulled = nil, true
	before, known := p.previous[layer]
	if !known && step != "exists" {
		out = append(out, layerMessage(layer, "Pulling fs layer", 0, 0))
	}
	if step == "unpacking" && before != step {
		out = append(out, layerMessage(layer, "Download complete", 0, 0))
	}
	if p.previous == nil {
		p.previous = map[string]string{}
	}

	p.previous[layer] = step
	if step == "waiting" {
		return out
	}
	return append(out, layerMessage(layer, pullStatus[step], m.GetDone(), m.GetTotal()))
}

// Open returns the first line, once the registry has the image.
func (p *Pull) Open() []Message {
	if p.opened {
		return nil
	}

	p.opened = true
	m := Status("Pulling from %s", p.Image)
	if named, err := reference.ParseNormalizedNamed(p.Image); err == nil {
		m = Status("Pulling from %s", reference.Path(named))
		m.ID = tagOf(named)
	}
	return []Message{m}
}

// End returns the last lines. before is the ID that the reference had before the pull.
func (p *Pull) End(i *containerv1.Image, before string) []Message {
	out := p.Open()
	if before != i.GetId() {
		out = append(out, p.stored...)
	}
	if d := digestOf(i, p.Image); d != "" {
		out = append(out, Status("Digest: %s", d))
	}
	if p.pulled || before != i.GetId() {
		return append(out, Status("Status: Downloaded newer image for %s", p.Image))
	}
	return append(out, Status("Status: Image is up to date for %s", p.Image))
}

// tagOf returns the tag or digest of a reference.
func tagOf(named reference.Named) string {
	switch r := reference.TagNameOnly(named).(type) {
	case reference.Digested:
		return r.Digest().String()
	case reference.Tagged:
		return r.Tag()
	}
	return ""
}

// digestOf returns the digest that an image has in the repository of a name.
func digestOf(i *containerv1.Image, name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return i.GetManifestDigest()
	}

	for _, d := range i.GetDigests() {
		if repository, digest, _ := strings.Cut(d, "@"); repository == reference.FamiliarName(named) {
			return digest
		}
	}
	return i.GetManifestDigest()
}

// pushStatus maps phases of a push to Docker's words.
var pushStatus = map[string]string{
	"preparing": "Preparing", "waiting": "Waiting", "pushing": "Pushing", "pushed": "Pushed",
	"present": "Layer already exists",
}

// Push turns the progress of one push into lines.
type Push struct {
	Repository string // its full name
	opened     bool
}

// Open returns the first line.
func (p *Push) Open() []Message {
	if p.opened {
		return nil
	}
	p.opened = true
	return []Message{Status("The push refers to repository [%s]", p.Repository)}
}

// Add returns the lines for a progress message.
func (p *Push) Add(m *containerv1.Progress) []Message {
	status := pushStatus[m.GetStep()]
	if repository, ok := strings.CutPrefix(m.GetStep(), "mounted from "); ok {
		status = "Mounted from " + repository
	}
	if status == "" {
		return nil
	}
	return append(p.Open(), layerMessage(m.GetSubject(), status, m.GetDone(), m.GetTotal()))
}

// Pushed returns the lines for a tag that the registry has now.
func (p *Push) Pushed(tag *containerv1.PushedImage) []Message {
	name := tag.GetReference()
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		name = tagOf(named)
	}
	aux, _ := json.Marshal(map[string]any{"Tag": name, "Digest": tag.GetDigest(), "Size": tag.GetSize()})
	raw := json.RawMessage(aux)
	return append(p.Open(), Status("%s: digest: %s size: %d", name, tag.GetDigest(), tag.GetSize()),
		Message{Message: jsonstream.Message{Progress: &jsonstream.Progress{}, Aux: &raw}})
}

// Loaded returns the lines for images that were loaded.
func Loaded(images []*containerv1.Image) (out []Message) {
	for _, i := range images {
		for _, tag := range i.GetTags() {
			out = append(out, Stream("Loaded image: "+tag+"\n"))
		}
		if len(i.GetTags()) == 0 {
			out = append(out, Stream("Loaded image ID: "+i.GetId()+"\n"))
		}
	}
	return out
}
