package httphead

import (
	"math"
	"strconv"
	"strings"
)

// token has the characters of methods and names of headers, RFC 9110 section 5.6.2.
const token = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// request is the head of a request, as far as it matters.
type request struct {
	old       bool   // HTTP/1.0
	authority string // of a target with a scheme
	host      []string
	lengths   []string
	codings   []string
	upgrade   string
}

// start reads the request line.
func (q *request) start(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, ok := strings.Cut(rest, " ")
	switch {
	case !ok || method == "" || strings.Trim(method, token) != "":
		return ErrNotHTTP
	case version != "HTTP/1.1" && version != "HTTP/1.0":
		return ErrNotHTTP
	case method == "CONNECT":
		return ErrHead
	case strings.HasPrefix(target, "/") || target == "*":
	case hasScheme(target):
		_, rest, _ := strings.Cut(target, "://")
		q.authority = rest[:strings.IndexAny(rest+"/", "/?#")]
	default:
		return ErrHead
	}
	q.old = version == "HTTP/1.0"
	return nil
}

func hasScheme(target string) bool {
	scheme, _, ok := strings.Cut(target, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// header reads a header line.
func (q *request) header(line string) error {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.Trim(name, token) != "" {
		return ErrHead
	}
	value = strings.Trim(value, " \t")
	switch strings.ToLower(name) {
	case "host":
		q.host = append(q.host, value)
	case "content-length":
		q.lengths = append(q.lengths, value)
	case "transfer-encoding":
		q.codings = append(q.codings, value)
	case "upgrade":
		q.upgrade += value
	}
	return nil
}

// hosts returns the names that a server could take for the requested one.
func (q *request) hosts() (names []string, err error) {
	if len(q.host) != 1 {
		return nil, ErrNoHost
	}
	all := q.host
	if q.authority != "" {
		all = append(all, q.authority)
	}
	for _, text := range all {
		name, ok := hostOf(text)
		if !ok {
			return nil, ErrNoHost
		}
		names = append(names, name)
	}
	return names, nil
}

// hostOf returns the name or address before the port, in lower case.
func hostOf(text string) (name string, ok bool) {
	name, port := text, ""
	if inside, after, v6 := strings.Cut(text, "]"); v6 {
		name, port = strings.TrimPrefix(inside, "["), strings.TrimPrefix(after, ":")
		if len(name) == len(inside) || after != "" && len(port) == len(after) {
			return "", false
		}
		return strings.ToLower(name), strings.Trim(name, "0123456789abcdefABCDEF:.") == "" && isPort(port)
	}
	if before, after, has := strings.Cut(text, ":"); has {
		name, port = before, after
	}
	name = strings.ToLower(name)
	return name, name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && isPort(port)
}

func isPort(text string) bool { return len(text) <= 5 && strings.Trim(text, "0123456789") == "" }

func (q *request) chunked() bool { return len(q.codings) > 0 }

// length returns the length of the body, 0 for one in chunks.
func (q *request) length() (int64, error) {
	switch {
	case q.chunked():
		if q.old || len(q.codings) > 1 || !strings.EqualFold(q.codings[0], "chunked") || len(q.lengths) > 0 {
			return 0, ErrHead
		}
		return 0, nil
	case len(q.lengths) == 0:
		return 0, nil
	case len(q.lengths) > 1:
		return 0, ErrHead
	}
	return number(q.lengths[0], 10)
}

// number reads a number without a sign.
func number(text string, base int) (int64, error) {
	n, err := strconv.ParseUint(text, base, 64)
	if err != nil || n > math.MaxInt64 || strings.ContainsAny(text, "+_") {
		return 0, ErrHead
	}
	return int64(n), nil
}
