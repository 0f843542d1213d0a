// Package create translates the body of POST /containers/create to the configuration of a container. It
// performs no I/O.
package create

import (
	"bytes"
	"encoding/json"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/fairlead/fairlead/services/engine/internal/httpapi"
)

// Body is the body. Fields that differ from Docker's current types hide theirs.
type Body struct {
	container.Config
	Cmd        Words
	Entrypoint Words
	MacAddress string // before version 1.52

	HostConfig       container.HostConfig
	NetworkingConfig NetworkingConfig
}

// Words are a list of strings. A single string is a list of one.
type Words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *Words) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil && string(text) != "null" {
		*w = Words{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(w))
}

// NetworkingConfig holds the requested endpoints.
type NetworkingConfig struct{ EndpointsConfig Endpoints }

// Endpoints are the requested endpoints by network.
type Endpoints struct {
	Order []string // the networks as they are in the document, which is the order of the interfaces
	Of    map[string]*network.EndpointSettings
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Endpoints) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &e.Of); err != nil {
		return err
	}
	if e.Of == nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil { // the brace
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		e.Order = append(e.Order, key.(string)) // a key is always a string
		if err := dec.Decode(new(json.RawMessage)); err != nil {
			return err
		}
	}
	return nil
}

// Parse parses a body.
func Parse(text []byte) (*Body, error) {
	var b Body
	if len(text) == 0 {
		return nil, httpapi.Errorf(400, "config cannot be empty in order to create a container")
	}
	if err := httpapi.ParseJSON(text, &b); err != nil {
		return nil, err
	}
	return &b, nil
}
