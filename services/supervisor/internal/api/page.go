package api

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxPage bounds the bytes of one page of a list. It is well below the message limit of clients.
const maxPage = 1 << 20

// position is the position of an item in a list sorted by creation time, newest first, and then by
// ID. It remains valid when items are removed.
type position struct {
	created time.Time // an image's creation time is any time in the years 0 to 9999
	id      string
}

func positionOf(created time.Time, id string) position { return position{created, id} }

func (p position) String() string {
	return fmt.Sprintf("%d.%d.%s", p.created.Unix(), p.created.Nanosecond(), p.id)
}

// after reports whether an item at p follows one at q.
func (p position) after(q position) bool {
	return cmp.Or(q.created.Compare(p.created), cmp.Compare(p.id, q.id)) > 0
}

// page returns the messages after a page token, and the token of the next page. items must be
// sorted by position.
func page[T any, M proto.Message](items []T, token string, at func(T) position,
	message func(T) M) (out []M, next string, err error) {
	last, err := parseToken(token)
	if err != nil {
		return nil, "", err
	}

	size := 0
	var end position
	for _, item := range items {
		here := at(item)
		if last != nil && !here.after(*last) {
			continue
		}
		m := message(item)
		if size += proto.Size(m); size > maxPage && len(out) > 0 {
			return out, end.String(), nil
		}
		out, end = append(out, m), here
	}

	return out, "", nil
}

func parseToken(token string) (*position, error) {
	if token == "" {
		return nil, nil
	}
	parts := strings.SplitN(token, ".", 3)
	if len(parts) == 3 {
		seconds, err := strconv.ParseInt(parts[0], 10, 64)
		nanoseconds, nerr := strconv.ParseInt(parts[1], 10, 64)
		if err == nil && nerr == nil {
			return &position{time.Unix(seconds, nanoseconds), parts[2]}, nil
		}
	}
	return nil, fault.New(fault.Invalid, "page token", "is not a valid page token", fault.WithField("page_token"))
}
