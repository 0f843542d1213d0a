package store

import (
	"encoding/json"
	"testing"

	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

func TestUpgradedRecordsAreKept(t *testing.T) {
	for _, driver := range []string{network.DriverBridge, network.DriverMacvlan, network.DriverIPvlan} {
		first, err := json.Marshal(networkV1{ID: "a", Name: "n", Driver: driver, Bridge: "br-a", Parent: "eth0"})
		if err != nil {
			t.Fatal(err)
		}
		once, err := upgrade(1, "networks", first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := upgrade(1, "networks", once)
		if err != nil || string(again) != string(once) {
			t.Errorf("%s: got\n%s, error %v, want\n%s", driver, again, err, once)
		}
	}
}
