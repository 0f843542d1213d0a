// Package processes adapts the runtime driver to the interfaces of packages run, launch and session. The
// root of the supervisor uses it. It contains no logic.
package processes

import (
	"context"

	"github.com/fairlead/fairlead/services/supervisor/internal/launch"
	"github.com/fairlead/fairlead/services/supervisor/internal/runtime"
	"github.com/fairlead/fairlead/services/supervisor/internal/session"
)

// Adapter is a driver as run.Processes.
type Adapter struct{ *runtime.Driver }

// Prepare starts the monitor of a container.
func (a Adapter) Prepare(ctx context.Context, l runtime.Launch) (launch.Monitor, error) {
	return orNil[launch.Monitor](a.Driver.Prepare(ctx, l))
}

// Attach attaches to the output of a container.
func (a Adapter) Attach(ctx context.Context, uid string) (launch.Output, error) {
	return orNil[launch.Output](a.Driver.Attach(ctx, uid))
}

// Exec starts an exec process.
func (a Adapter) Exec(ctx context.Context, req runtime.ExecRequest) (session.Session, error) {
	return orNil[session.Session](a.Driver.Exec(ctx, req))
}

// orNil converts a pointer to the interface that it implements, and a nil pointer to a nil
// interface.
func orNil[I any, P interface {
	*E
	comparable
}, E any](p P, err error) (I, error) {
	var none I
	if p == nil {
		return none, err
	}
	return any(p).(I), err
}
