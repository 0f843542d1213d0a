package fence

import (
	fleetv1 "github.com/fairlead/fairlead/proto/gen/fairlead/fleet/v1"
	"github.com/fairlead/fairlead/services/fleetagent/internal/etcd"
	"github.com/fairlead/fairlead/services/fleetagent/internal/record"
)

// Of returns the generation in the records of a store, if its settings can be read.
func Of(keys record.Keys, all []etcd.Value) (uint64, bool) {
	for _, v := range all {
		if v.Key == keys.Settings() {
			return In(v.Key, v.Data)
		}
	}
	return 0, false
}

// In returns the generation in the settings of a fleet.
func In(key string, data []byte) (uint64, bool) {
	settings := &fleetv1.FleetSettings{}
	err := record.Decode(key, data, settings)
	return settings.GetGeneration(), err == nil
}

// With returns the settings of a fleet with another generation.
func With(key string, data []byte, generation uint64) ([]byte, error) {
	settings := &fleetv1.FleetSettings{}
	if err := record.Decode(key, data, settings); err != nil {
		return nil, err
	}
	settings.Generation = generation
	return record.Encode(settings)
}
