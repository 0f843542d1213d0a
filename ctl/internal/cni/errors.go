package cni

import (
	"errors"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairlead/fairlead/proto/fault"
)

// Codes of errors that CNI does not define. They are from 100.
const (
	codeConflict  uint = 100 // a port, an address or a name is in use
	codeExhausted uint = 101 // no address or port is free
	codeDenied    uint = 102 // the plugin does not run as root
)

// Error converts an error to CNI's format. The message has no hint; that is in the details.
func Error(err error) *types.Error {
	if err == nil {
		return nil
	}
	if done := (*types.Error)(nil); errors.As(err, &done) {
		return done
	}
	f := (*fault.Fault)(nil)
	if !errors.As(err, &f) {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}

	message := err.Error()
	if f.Hint != "" {
		message = strings.ReplaceAll(message, "; "+f.Hint, "")
	}
	return types.NewError(codeOf(f), message, f.Hint)
}

func codeOf(f *fault.Fault) uint {
	switch f.Kind {
	case fault.Invalid, fault.NotFound:
		if f.Field == "netns_path" {
			return types.ErrInvalidNetNS
		}
		return types.ErrInvalidNetworkConfig
	case fault.Unavailable:
		return types.ErrTryAgainLater
	case fault.Exists, fault.Busy, fault.Conflict:
		return codeConflict
	case fault.Exhausted:
		return codeExhausted
	case fault.Denied:
		return codeDenied
	}
	return types.ErrInternal
}

// StatusError converts an error of Status, which has codes of its own: whatever is missing, the plugin
// cannot serve ADD.
func StatusError(err error) *types.Error {
	e := Error(err)
	if e != nil && (e.Code == types.ErrTryAgainLater || e.Code == codeExhausted) {
		e.Code = types.ErrPluginNotAvailable
	}
	return e
}
