package manpage

import (
	"fmt"
	"strings"
)

// Builder builds the roff text of one page.
type Builder struct{ text strings.Builder }

// NewBuilder returns a page with its title and its first section, NAME. source is the program with its
// version.
func NewBuilder(name string, section int, source, short string) *Builder {
	var b Builder
	// Without a date, the same sources give the same page.
	b.line(fmt.Sprintf(`.TH "%s" "%d" "" "%s" "Fairlead"`, strings.ToUpper(Escape(name)), section, Escape(source)))
	b.line(".nh")
	b.line(".ad l")
	b.Section("NAME")
	b.line(Escape(name) + ` \- ` + Escape(short))
	return &b
}

// Section starts a section.
func (b *Builder) Section(title string) { b.line(`.SH "` + Escape(title) + `"`) }

// Text adds paragraphs, which empty lines divide. Lines that begin with a space are not filled.
func (b *Builder) Text(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.line(".PP")
		}
		if strings.HasPrefix(paragraph, " ") || strings.Contains(paragraph, "\n ") {
			b.Verbatim(paragraph)
			continue
		}
		b.filled(paragraph)
	}
}

// filled adds a paragraph. A line that begins with an option starts a new line.
func (b *Builder) filled(paragraph string) {
	for i, line := range strings.Split(paragraph, "\n") {
		if i > 0 && strings.HasPrefix(line, "-") {
			b.line(".br")
		}
		b.line(Escape(line))
	}
}

// Verbatim adds lines that are not filled.
func (b *Builder) Verbatim(text string) {
	b.line(".nf")
	b.line(Escape(strings.Trim(text, "\n")))
	b.line(".fi")
}

// Item adds a term in bold and its description.
func (b *Builder) Item(term, description string) { b.item(`\fB`+Escape(term)+`\fR`, description) }

// item is like Item for a term in roff.
func (b *Builder) item(term, description string) {
	b.line(".TP")
	b.line(term)
	b.line(Escape(description))
}

func (b *Builder) line(text string) {
	b.text.WriteString(text)
	b.text.WriteByte('\n')
}

// String returns the page.
func (b *Builder) String() string { return b.text.String() }

// Escape returns text in which roff finds neither escapes nor requests. Hyphens are ASCII ones, so that
// options can be searched and copied.
func Escape(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		line = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
