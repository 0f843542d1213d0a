package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/terminal"
)

// tty FILE fairlead ARGS… runs the command line in a terminal and executes the lines of the file:
//
//	expect REGEX       waits for output that matches, after the last match
//	send "TEXT"        types text, quoted as in Go
//	resize ROWS COLS   changes the size of the terminal
//	exit CODE          waits for the exit code
//	hangup             closes the terminal, like a window
func tty(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(ts.Getenv(binVar)+"/"+args[1], args[2:]...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "FAIRLEAD_HOST="+ts.Getenv("FAIRLEAD_HOST"))
	term, err := terminal.Start(cmd, io.Discard)
	must(ts, err)
	defer term.Close()
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := play(term, line); err != nil {
			ts.Fatalf("%s: %v\nthe terminal shows:\n%s", line, err, term.Shown())
		}
	}
}

func play(term *terminal.Terminal, line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "expect":
		return term.Expect(rest, waitLimit)
	case "send":
		text, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		return term.Type(text)
	case "resize":
		var rows, columns uint16
		if _, err := fmt.Sscan(rest, &rows, &columns); err != nil {
			return err
		}
		return term.Resize(rows, columns)
	case "exit":
		code, err := term.Wait(waitLimit)
		if err == nil && strconv.Itoa(code) != rest {
			err = fmt.Errorf("got exit code %d", code)
		}
		return err
	case "hangup":
		return term.HangUp()
	}

	return errors.New("unknown command")
}
