// Package progress prints the progress of pulls, pushes and launches: one bar for each layer on a terminal,
// plain lines otherwise. It does not call the agent.
package progress

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead/fairlead/ctl/internal/escape"
	"github.com/fairlead/fairlead/ctl/internal/format"
	"github.com/fairlead/fairlead/ctl/internal/terminal"
	containerv1 "github.com/fairlead/fairlead/proto/gen/fairlead/container/v1"
)

// words maps the phases of a pull or push to their printed names. Other steps are launch steps.
var words = map[string]string{
	"pulling": "Pulling", "waiting": "Waiting", "downloading": "Downloading", "unpacking": "Unpacking", "done": "Done",
	"exists": "Already exists", "preparing": "Preparing", "pushing": "Pushing", "pushed": "Pushed",
	"present": "Layer already exists",
}

// wordOf returns the printed name of a phase, or "" for a launch step.
func wordOf(step string) string {
	if repository, ok := strings.CutPrefix(step, "mounted from "); ok {
		return "Mounted from " + escape.Line(repository)
	}
	return words[step]
}

// isEnd reports whether a layer has no later phase.
func isEnd(step string) bool {
	return step == "done" || step == "exists" || step == "pushed" || step == "present" ||
		strings.HasPrefix(step, "mounted from ")
}

// Printer prints progress messages.
type Printer interface {
	// Show prints one message.
	Show(*containerv1.Progress)
	// Finish ends the display, so that the next output starts on its own line. It can be called
	// repeatedly.
	Finish()
}

// New returns the printer for w. With steps it also prints each launch step.
func New(w io.Writer, steps bool, now func() time.Time) Printer {
	plain := &lines{w: w, steps: steps, last: map[string]string{}}
	if tty := terminal.Of(w); tty != nil && !steps {
		return &bars{w: w, size: tty.Size, now: now}
	}
	return plain
}

// Silent returns a printer without output.
func Silent() Printer { return silent{} }

type silent struct{}

func (silent) Show(*containerv1.Progress) {}
func (silent) Finish()                    {}

// lines prints a line for each phase of a layer.
type lines struct {
	w     io.Writer
	steps bool
	last  map[string]string // the phase of each subject
}

func (l *lines) Show(p *containerv1.Progress) {
	word := wordOf(p.GetStep())
	pull := word != ""
	switch {
	case !pull && l.steps:
		_, _ = fmt.Fprintln(l.w, escape.Line(strings.TrimSpace(p.GetStep()+" "+p.GetSubject())))
	case pull && p.GetStep() != "waiting" && p.GetStep() != "preparing" && l.last[p.GetSubject()] != p.GetStep():
		l.last[p.GetSubject()] = p.GetStep()
		_, _ = fmt.Fprintf(l.w, "%s: %s\n", escape.Line(p.GetSubject()), word)
	}
}

func (*lines) Finish() {}

// bars keeps a block of lines at the bottom of the terminal, one for each pending layer. A finished
// layer is printed once above it. So the block stays small and no scrolled line is rewritten.
type bars struct {
	w    io.Writer
	size func() (rows, columns int)
	now  func() time.Time

	block []*containerv1.Progress // in start order
	drawn int                     // lines of the block on the terminal
	at    time.Time               // time of the last drawing
}

// redrawInterval limits redrawing when only byte counts change.
const redrawInterval = 50 * time.Millisecond

func (b *bars) Show(p *containerv1.Progress) {
	if wordOf(p.GetStep()) == "" {
		return
	}

	i, phase := b.find(p)
	if isEnd(p.GetStep()) {
		b.block = append(b.block[:i], b.block[i+1:]...)
		b.draw(p)
		return
	}

	b.block[i] = p
	if phase != p.GetStep() || b.now().Sub(b.at) >= redrawInterval {
		b.draw(nil)
	}
}

// find returns the index of a subject in the block, which it adds if needed, and its previous
// phase.
func (b *bars) find(p *containerv1.Progress) (index int, phase string) {
	for i, q := range b.block {
		if q.GetSubject() == p.GetSubject() {
			return i, q.GetStep()
		}
	}
	b.block = append(b.block, p)
	return len(b.block) - 1, ""
}

// draw redraws the block, with the finished layer above it.
func (b *bars) draw(done *containerv1.Progress) {
	rows, columns := b.size()
	rows, columns = cmp.Or(rows, 24), cmp.Or(columns, 80)
	var out strings.Builder
	out.WriteString(b.erase())
	if done != nil {
		out.WriteString(line(done, columns) + "\n")
	}

	b.drawn = min(len(b.block), rows-1)
	for _, p := range b.block[:b.drawn] {
		out.WriteString(line(p, columns) + "\n")
	}

	b.at = b.now()
	_, _ = io.WriteString(b.w, out.String())
}

// erase returns the control sequence that clears the block.
func (b *bars) erase() string {
	if b.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", b.drawn) // the terminal can have printed ^C, so return to the first column
}

func (b *bars) Finish() {
	if b.drawn > 0 {
		_, _ = io.WriteString(b.w, b.erase())
		b.block, b.drawn = nil, 0
	}
}

const barWidth = 40

func line(p *containerv1.Progress, columns int) string {
	s := fmt.Sprintf("%s: %s", escape.Line(p.GetSubject()), wordOf(p.GetStep()))
	if total, done := p.GetTotal(), min(p.GetDone(), p.GetTotal()); total > 0 &&
		(p.GetStep() == "downloading" || p.GetStep() == "unpacking" || p.GetStep() == "pushing") {
		full := int(done * barWidth / total)
		s = fmt.Sprintf("%-26s [%s%s]  %s/%s", s, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full),
			format.Size(done), format.Size(total))
	}
	return format.Ellipsis(s, columns-1)
}
