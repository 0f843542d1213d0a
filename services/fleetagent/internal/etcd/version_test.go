package etcd

import (
	"strings"
	"testing"
)

func TestOldVersionsAreRefused(t *testing.T) {
	for version, ok := range map[string]bool{
		"3.4.23": false, "3.4.45": false, "3.5.32": false, "3.5.33": true, "3.5.40": true, "3.6.13": false,
		"3.6.14": true, "3.6.16": true, "3.7.0": false, "3.7.1": true, "3.7.3": true, "v3.7.3": true, "3.8.0": true,
		"3.7.1-rc.0": true, "2.3.8": false, "": false, "3.7": false, "x.y.z": false,
	} {
		err := CheckVersion(version)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "is older than 3.5.33, 3.6.14 or 3.7.1") {
			t.Errorf("version %q: got error %v", version, err)
		}
	}
}
