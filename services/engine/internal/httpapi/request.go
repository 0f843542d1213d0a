package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/services/engine/internal/apiversion"
)

// Limits of JSON bodies.
const (
	maxBody     = 4 << 20 // the same as for messages between the services
	bodyTimeout = 30 * time.Second
)

// Request is a request for an operation.
type Request struct {
	*http.Request
	// Version is the version of the API that the client requested, or Max.
	Version apiversion.Version

	params   map[string]string
	query    url.Values // parsed at its first use
	panicked func(any)  // logs a panic
}

// Param returns a parameter of the path.
func (r *Request) Param(name string) string { return r.params[name] }

// Name returns the parameter {name}, without the slash that names of containers begin with.
func (r *Request) Name() string { return strings.TrimPrefix(r.params["name"], "/") }

// Query returns a parameter of the query. It is empty if there is none.
func (r *Request) Query(key string) string { return r.values().Get(key) }

// values returns the parsed query.
func (r *Request) values() url.Values {
	if r.query == nil {
		r.query = r.URL.Query()
	}
	return r.query
}

// Bool reports whether a parameter of the query is true, in Docker's notation: only "", "0", "no", "false" and "none"
// are false.
func (r *Request) Bool(key string) bool { return truth(r.Query(key)) }

func truth(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// BoolOr reports whether a parameter of the query is true. It returns the default if it is absent.
func (r *Request) BoolOr(key string, absent bool) bool {
	if !r.values().Has(key) {
		return absent
	}
	return r.Bool(key)
}

// Int returns a number of the query, or the default if it is absent.
func (r *Request) Int(key string, absent int) (int, error) {
	text := r.Query(key)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, Errorf(http.StatusBadRequest, "parameter %s: %.100q is not a number", key, text)
	}
	return n, nil
}

// Decode parses the JSON body. An absent body changes nothing.
func (r *Request) Decode(w http.ResponseWriter, into any) error {
	text, err := r.Body(w)
	if err != nil || len(text) == 0 {
		return err
	}
	return ParseJSON(text, into)
}

// Body returns the JSON body, which is empty if there is none.
func (r *Request) Body(w http.ResponseWriter) ([]byte, error) {
	text, err := r.read(w)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return nil, err
	}
	kind := r.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); kind != "" && (err != nil || media != "application/json") {
		return nil, Errorf(http.StatusBadRequest, "unsupported Content-Type %.100q; use application/json", kind)
	}
	return text, nil
}

// Discard reads a body of known length that the operation does not use. What follows it on the connection
// is then what the client has sent after its request.
func (r *Request) Discard(w http.ResponseWriter) error {
	if r.ContentLength < 0 {
		return nil
	}
	_, err := r.read(w)
	return err
}

// read returns the body, or what is left of it.
func (r *Request) read(w http.ResponseWriter) ([]byte, error) {
	if r.Request.Body == nil || r.ContentLength == 0 {
		return nil, nil
	}
	// The deadline is that of the connection. Without one a client could keep the request forever.
	control := http.NewResponseController(unwrap(w))
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	text, err := io.ReadAll(io.LimitReader(r.Request.Body, maxBody+1))
	_ = control.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		return nil, Errorf(http.StatusBadRequest, "request body: cannot be read: %v", err)
	case len(text) > maxBody:
		return nil, Errorf(http.StatusBadRequest, "request body: has more than %d bytes", maxBody)
	}
	return text, nil
}

// unwrap returns the writer below the router's, without marking it as written.
func unwrap(w http.ResponseWriter) http.ResponseWriter {
	if r, ok := w.(*response); ok {
		return r.ResponseWriter
	}
	return w
}

// ParseJSON parses one JSON document.
func ParseJSON(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(into); err != nil {
		return Errorf(http.StatusBadRequest, "invalid JSON: %s", cause(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Errorf(http.StatusBadRequest, "unexpected content after JSON")
	}
	return nil
}

// cause names the field with a wrong type.
func cause(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return "field " + strings.TrimPrefix(wrong.Field, "Config.") + ": " + wrong.Value + " is not a valid " +
			wrong.Type.String()
	}
	return err.Error()
}
