package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestArchiveRoundTrip(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox installed")
	}

	files := map[string][]byte{"init": []byte("#!/bin/sh\n"), "d/odd": []byte("12345"), "d/empty": nil}
	var archive bytes.Buffer
	if err := writeArchive(&archive, []string{"d"}, files); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	cmd := exec.Command("busybox", "cpio", "-i")
	cmd.Dir, cmd.Stdin = dir, &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}

	if info, err := os.Stat(filepath.Join(dir, "init")); err == nil && info.Mode().Perm() != 0o755 {
		t.Errorf("mode of init: got %s, want 0755", info.Mode())
	}
}
