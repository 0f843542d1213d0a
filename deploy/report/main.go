// Command report summarizes the output of `go test -json`: failures in full, then each package,
// each skip with its reason, and the totals. It exits with 1 if a test failed.
package main

import (
	"fmt"
	"os"
)

func main() {
	r := report{strict: os.Getenv("CI") != ""}
	err := r.read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
	}
	r.summarize(os.Stdout)
	if err != nil || !r.ok() {
		os.Exit(1)
	}
}
