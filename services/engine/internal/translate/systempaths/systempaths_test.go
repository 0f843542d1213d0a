package systempaths

import (
	"slices"
	"testing"
)

func TestIsDefault(t *testing.T) {
	reversed := Masked()
	slices.Reverse(reversed)
	for name, c := range map[string]struct {
		list []string
		want bool
	}{
		"default":  {Masked(), true},
		"reversed": {append(reversed, "/proc/acpi"), true},
		"of a host with CPUs": {append(Masked(), "/sys/devices/system/cpu/cpu0/thermal_throttle",
			"/sys/devices/system/cpu/cpu11/thermal_throttle"), true},
		"one more":    {append(Masked(), "/proc/secret"), false},
		"one less":    {Masked()[1:], false},
		"empty":       {[]string{}, false},
		"other paths": {Readonly(), false},
	} {
		if got := IsDefault(c.list, Masked()); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if !slices.IsSorted(Masked()) || !slices.IsSorted(Readonly()) || !IsDefault(Readonly(), Readonly()) {
		t.Error("the defaults are not sorted")
	}
}
