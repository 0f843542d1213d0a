package diagnose

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/agent/diagnosis"
)

func TestJudgeReportsVulnerableRuntimes(t *testing.T) {
	const breakouts = "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881"
	for _, row := range []struct{ program, output, want string }{
		{"runc", "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1",
			"CVE-2024-21626, CVE-2024-45310, " + breakouts + ", unless the distribution"},
		{"runc", "runc version 1.1.12", "the fixes of CVE-2024-45310, " + breakouts},
		{"runc", "runc version 1.2.0", "the fixes of " + breakouts},
		{"runc", "runc version 1.2.7", breakouts},
		{"runc", "runc version 1.2.8", ""},
		{"runc", "runc version 1.3.2", breakouts},
		{"runc", "runc version 1.3.3", ""},
		{"runc", "runc version 1.4.0", ""},
		{"runc", "runc version 1.5.1", ""},
		{"runc", "runc version 1.0.3", "CVE-2024-21626"},
		{"crun", "crun version 1.8.1\n+SYSTEMD +SECCOMP", ""},
		{"crun", "crun version 1.19\n+SYSTEMD +LIBKRUN", "CVE-2025-24965"},
		{"crun", "crun version 1.20\n+LIBKRUN", ""},
		{"youki", "youki 0.3", ""},
	} {
		f := versionFinding(row.program, "/bin/x", row.output)
		if row.want == "" && f.Severity != diagnosis.OK || row.want != "" &&
			(f.Severity != diagnosis.Note || !strings.Contains(f.Text, row.want)) {
			t.Errorf("%q: got %d, %s, want %q", row.output, f.Severity, f.Text, row.want)
		}
	}

	f := versionFinding("runc", "/bin/x", "runc version 1.1.5")
	if f.Hint != "upgrade runc to 1.2.8, 1.3.3, 1.4.0 or later" {
		t.Errorf("got hint %q", f.Hint)
	}
}
