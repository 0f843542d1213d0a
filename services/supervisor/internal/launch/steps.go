package launch

import "github.com/fairlead/fairlead/services/supervisor/internal/saga"

// Launch steps. A failed launch undoes them in reverse order. Progress, logs and errors show the
// names.
const (
	reserveName       = "reserve name"
	resolveImage      = "resolve image"
	storeContainer    = "store container"
	reserveAddresses  = "reserve addresses"
	startMonitor      = "start monitor"
	prepareRootfs     = "prepare rootfs"
	mountVolumes      = "mount volumes"
	fillVolumes       = "fill volumes"
	mountSharedMemory = "mount shared memory"
	mountNames        = "mount name files"
	joinNetwork       = "join network"
	registerNames     = "register names"
	applyPolicy       = "apply policy"
	publishPorts      = "publish ports"
	createProcess     = "create process"
	attachOutput      = "attach output"
	attachWaiting     = "attach waiting clients"
	startProcess      = "start process"
)

// createSteps returns the steps that create a container.
func (l *launch) createSteps() []saga.Step {
	return []saga.Step{l.reserveName(), l.resolveImage(), l.storeContainer()}
}

// acquireSteps returns the steps that allocate addresses, names and ports. Their undo runs first at
// an exit.
func (l *launch) acquireSteps(after string) []saga.Step {
	if with, ok := l.req.Config.Network.Mode.Joined(); ok {
		return []saga.Step{l.mountNames(after), l.joinNamespace(after, with), l.shareNames()}
	}
	steps := []saga.Step{l.mountNames(after), l.joinNetwork(after), l.registerNames(), applyPolicyOf(l)}
	if l.publishes() {
		steps = append(steps, l.publishPorts())
	}
	return steps
}

// processSteps returns the steps that create the monitor, the rootfs and the process.
func (l *launch) processSteps(after string) []saga.Step {
	steps := []saga.Step{l.startMonitor(after)}
	if l.isShareable() {
		steps = append(steps, l.mountSharedMemory(after))
	}
	return append(steps, l.prepareRootfs(after), l.mountVolumes(after), l.createProcess())
}

// runSteps returns the steps of `run`.
func (l *launch) runSteps() []saga.Step {
	steps := append(l.createSteps(), l.startSteps(resolveImage)...)
	last := &steps[len(steps)-1]
	last.After = append(last.After, storeContainer)
	return steps
}

// startSteps returns the steps of `start`.
func (l *launch) startSteps(after string) []saga.Step {
	body := l.processSteps(after)
	last := len(body) - 1
	steps := append(body[:last:last], l.acquireSteps(after)...)
	steps = append(steps, body[last])
	if l.req.Attach {
		steps = append(steps, l.attachOutput())
	}
	if len(l.waiters) > 0 {
		steps = append(steps, l.attachWaiters())
	}
	return append(steps, l.startProcess())
}
