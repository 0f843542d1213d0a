package store

import (
	"encoding/json"

	"github.com/fairlead/fairlead/agent/portrecord"
)

// version is the version of the records. Version 2 has the port model of package port.
const version = 2

// upgrade converts a record of version 1. It returns an unreadable record unchanged, which Open sets
// aside.
func upgrade(_ int, table string, record []byte) ([]byte, error) {
	if table != "publications" {
		return record, nil
	}

	next := json.RawMessage(record)
	for _, list := range []struct {
		key    string
		change func(json.RawMessage) (any, error)
	}{{"Mappings", portrecord.Mappings}, {"Addresses", portrecord.Addresses}, {"Bindings", portrecord.Bindings}} {
		var err error
		if next, err = portrecord.Edit(next, list.change, list.key); err != nil {
			return record, nil
		}
	}

	return next, nil
}
