package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/fairlead/fairlead/proto/fault"
)

// Error is an error with the status of its response.
type Error struct {
	Status  int
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Errorf returns an Error.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{status, fmt.Sprintf(format, args...)}
}

// statuses are the statuses of faults, as in Docker.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Exists: http.StatusConflict,
	fault.Busy: http.StatusConflict, fault.Denied: http.StatusForbidden,
	fault.Unavailable: http.StatusServiceUnavailable, fault.Conflict: http.StatusConflict,
	fault.Exhausted: http.StatusInternalServerError, fault.Internal: http.StatusInternalServerError,
}

// fromFault converts an error of another service.
func fromFault(err error) *Error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{http.StatusGatewayTimeout, err.Error()}
	}
	status := statuses[fault.KindOf(err)]
	switch fault.ReasonOf(err) {
	case fault.ReasonPortAllocated, fault.ReasonAddressInUse:
		status = http.StatusInternalServerError
	case fault.ReasonCommandNotFound, fault.ReasonCommandNotExecutable:
		status = http.StatusBadRequest
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Message == "No such image" {
		return &Error{status, f.Message + ": " + imageName(f.Subject)}
	}
	// Messages that begin with a capital letter are Docker's and name their subject themselves.
	if f, ok := errors.AsType[*fault.Fault](err); ok && f.Step == "" && f.Cause == nil && f.Message != "" &&
		unicode.IsUpper(rune(f.Message[0])) {
		if _, name, ok := strings.Cut(f.Subject, `"`); ok && !names(f.Message, strings.Trim(name, `"`)) {
			return &Error{status, f.Message + ": " + strings.Trim(name, `"`)}
		}
		return &Error{status, f.Message}
	}
	return &Error{status, err.Error()}
}

// names reports whether a message contains a name, maybe without the tag of an image.
func names(message, name string) bool {
	return strings.Contains(message, name) || strings.HasSuffix(message, ": "+strings.TrimSuffix(name, ":latest"))
}

// imageName returns the name in a subject: image "NAME". As in Docker, a name has the tag latest if it
// has none.
func imageName(subject string) string {
	name := strings.Trim(strings.TrimPrefix(subject, "image "), `"`)
	last := name[strings.LastIndexByte(name, '/')+1:]
	if strings.ContainsAny(last, ":@") {
		return name
	}
	return name + ":latest"
}

// Message returns the message of an error, as responses have it.
func Message(err error) string { return asError(err).Message }

// writeError writes an error as Docker does.
func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": e.Message}) // the client is gone if it fails
}

// WriteJSON writes a document.
func WriteJSON(w http.ResponseWriter, status int, document any) error {
	text, err := json.Marshal(document)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client is gone if it fails
	return nil
}
