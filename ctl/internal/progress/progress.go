// Package progress shows how a pull moves on: a bar a layer on a terminal, plain lines elsewhere. It is told of each progress
// message and asks for nothing.
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

// words are the phases of a pull, as people read them. What is not here is a step of a launch.
var words = map[string]string{
	"pulling": "Pulling", "waiting": "Waiting", "downloading": "Downloading", "unpacking": "Unpacking", "done": "Done",
	"exists": "Already exists",
}

// Printer shows progress.
type Printer interface {
	// Show takes one message.
	Show(*containerv1.Progress)
	// Finish ends the display; whatever is printed next stands on a line of its own. It may be called more than once.
	Finish()
}

// New gives the printer that fits w. With steps it also names each step of a launch.
func New(w io.Writer, steps bool, now func() time.Time) Printer {
	plain := &lines{w: w, steps: steps, last: map[string]string{}}
	if tty := terminal.Of(w); tty != nil && !steps {
		return &bars{w: w, size: tty.Size, now: now}
	}
	return plain
}

// Silent shows nothing.
func Silent() Printer { return silent{} }

type silent struct{}

func (silent) Show(*containerv1.Progress) {}
func (silent) Finish()                    {}

// lines prints a line for each phase that a layer comes to.
type lines struct {
	w     io.Writer
	steps bool
	last  map[string]string // the phase of each subject
}

func (l *lines) Show(p *containerv1.Progress) {
	word, pull := words[p.GetStep()]
	switch {
	case !pull && l.steps:
		_, _ = fmt.Fprintln(l.w, escape.Line(strings.TrimSpace(p.GetStep()+" "+p.GetSubject())))
	case pull && p.GetStep() != "waiting" && l.last[p.GetSubject()] != p.GetStep():
		l.last[p.GetSubject()] = p.GetStep()
		_, _ = fmt.Fprintf(l.w, "%s: %s\n", escape.Line(p.GetSubject()), word)
	}
}

func (*lines) Finish() {}

// bars keeps a block of lines at the bottom of the terminal, one for each layer that is under way. A layer that is done is printed
// once above it, so the block stays small and no line is ever rewritten out of sight.
type bars struct {
	w    io.Writer
	size func() (rows, columns int)
	now  func() time.Time

	block []*containerv1.Progress // in the order in which they began
	drawn int                     // how many lines of the block stand on the terminal
	at    time.Time               // when they were drawn
}

// between is the time between two drawings when only bytes move.
const between = 50 * time.Millisecond

func (b *bars) Show(p *containerv1.Progress) {
	if words[p.GetStep()] == "" {
		return
	}
	i, phase := b.find(p)
	if p.GetStep() == "done" || p.GetStep() == "exists" {
		b.block = append(b.block[:i], b.block[i+1:]...)
		b.draw(p)
		return
	}
	b.block[i] = p
	if phase != p.GetStep() || b.now().Sub(b.at) >= between {
		b.draw(nil)
	}
}

// find gives a subject's place in the block, a new one if it has none, and the phase that it was in.
func (b *bars) find(p *containerv1.Progress) (place int, phase string) {
	for i, q := range b.block {
		if q.GetSubject() == p.GetSubject() {
			return i, q.GetStep()
		}
	}
	b.block = append(b.block, p)
	return len(b.block) - 1, ""
}

// draw puts the block where it stood, with what is done above it.
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

// erase takes the block off the terminal: up to its first line, and clear from there.
func (b *bars) erase() string {
	if b.drawn == 0 {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[J", b.drawn) // the cursor need not be in the first column: the terminal shows ^C
}

func (b *bars) Finish() {
	if b.drawn > 0 {
		_, _ = io.WriteString(b.w, b.erase())
		b.block, b.drawn = nil, 0
	}
}

const barWidth = 40

func line(p *containerv1.Progress, columns int) string {
	s := fmt.Sprintf("%s: %s", escape.Line(p.GetSubject()), words[p.GetStep()])
	if total, done := p.GetTotal(), min(p.GetDone(), p.GetTotal()); total > 0 && (p.GetStep() == "downloading" || p.GetStep() == "unpacking") {
		full := int(done * barWidth / total)
		s = fmt.Sprintf("%-26s [%s%s]  %s/%s", s, strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), format.Size(done), format.Size(total))
	}
	return format.Ellipsis(s, columns-1)
}
