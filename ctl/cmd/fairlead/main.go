// Command fairlead is the command line client of fairlead-agent. See package ctl/internal/command.
package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"github.com/fairlead/fairlead/ctl/internal/command"
	"github.com/fairlead/fairlead/ctl/internal/command/cli"
)

// gcPercent delays the first garbage collection until the heap has 16 MB. Most commands end before.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	c := &cli.CLI{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, LookupEnv: os.LookupEnv, Now: time.Now,
		Interrupts: &cli.Interrupts{}}
	ctx, stop := c.Interrupts.Listen(context.Background())
	code := command.Run(ctx, c, os.Args[1:])
	stop()
	os.Exit(code)
}
