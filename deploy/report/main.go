// Command report reads `go test -json` and tells people what came of it: failures in full, then each package, then every skip
// with its reason, and last how many tests passed, failed and were skipped. It ends with 1 if something failed.
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
