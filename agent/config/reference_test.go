package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/config"
)

// update rewrites docs/reference/configuration.md.
var update = flag.Bool("update", false, "rewrite the generated page in docs/reference")

const referencePage = "../../docs/reference/configuration.md"

func TestConfigurationReferenceIsCurrent(t *testing.T) {
	want := reference()
	if *update {
		if err := os.WriteFile(referencePage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run: make docs", referencePage)
	}
}

// reference returns the page: a table with a row for each key.
func reference() []byte {
	var b bytes.Buffer
	b.WriteString("# Configuration reference\n\n`make docs` generates this page from the keys of the agent.\n" +
		"\"Reload\" says whether `fairlead config reload` applies a change to a running agent.\n\n" +
		"| key | type | flag | environment | default | reload | what it does |\n|---|---|---|---|---|---|---|\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` | %s | %s | %s |\n", k.Name, k.Kind, code("--", k.Flag), k.EnvName(),
			code("", k.Default), yes(k.Reloadable), strings.ReplaceAll(k.Usage, "|", "\\|"))
	}

	return b.Bytes()
}

func code(prefix, text string) string {
	if text == "" {
		return ""
	}
	return "`" + prefix + text + "`"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
