package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/proto/fault"
)

type item struct {
	id      string
	created int
	text    string
}

func list(t *testing.T, items []item, between func([]item) []item) (ids []string, pages int) {
	t.Helper()

	for token := ""; ; {
		out, next, err := page(items, token,
			func(i item) position { return positionOf(time.Date(i.created*3000, 1, 1, 0, 0, 0, 5, time.UTC), i.id) },
			func(i item) *wrapperspb.StringValue { return wrapperspb.String(i.id + i.text) })
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out {
			ids = append(ids, m.GetValue()[:1])
		}
		if pages++; next == "" {
			return ids, pages
		}
		token, items = next, between(items)
	}
}

func TestPageListsEachItemOnce(t *testing.T) {
	big := strings.Repeat("x", maxPage*2/3)
	items := []item{{"c", 3, big}, {"a", 2, big}, {"b", 2, ""}, {"d", 2, big}, {"e", 1, strings.Repeat("x", 2*maxPage)},
		{"f", 0, ""}}
	same := func(i []item) []item { return i }
	if ids, pages := list(t, items, same); strings.Join(ids, "") != "cabdef" || pages != 5 {
		t.Errorf("got %v in %d pages", ids, pages)
	}

	if ids, pages := list(t, nil, same); len(ids) > 0 || pages != 1 {
		t.Errorf("got %v in %d pages", ids, pages)
	}

	remove := func(i []item) []item {
		return slices.DeleteFunc(slices.Clone(i), func(i item) bool { return i.id == "b" || i.id == "c" })
	}

	if ids, _ := list(t, items, remove); strings.Join(ids, "") != "cadef" {
		t.Errorf("with items removed: got %v", ids)
	}

	if _, err := parseToken("x"); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want Invalid", err)
	}
}
