package e2e

import (
	"context"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fairlead/fairlead/deploy/internal/debimage"
)

// programs PACKAGE… makes Debian packages available on the host without installing them.
func programs(ts *testscript.TestScript, _ bool, packages []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	root, err := debimage.Cache{Dir: cacheDir}.Programs(ctx, packages...)
	must(ts, err)
	must(ts, of(ts).LayOver(ctx, root))
}
