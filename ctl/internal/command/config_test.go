package command_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/ctl/client/clienttest"
	"github.com/fairlead/fairlead/proto/fault"
	agentv1 "github.com/fairlead/fairlead/proto/gen/fairlead/agent/v1"
	networkv1 "github.com/fairlead/fairlead/proto/gen/fairlead/network/v1"
)

func TestConfigShowPrintsOrigins(t *testing.T) {
	script := clienttest.Script{"GetConfig": {clienttest.Answers(
		&agentv1.GetConfigResponse{Settings: []*agentv1.Setting{
			{Key: "bip", Values: []*agentv1.Value{{Text: "192.168.10.1/24", Origin: "/etc/fairlead/daemon.json:4"}}},
			{Key: "hosts", List: true, Reloadable: true,
				Values: []*agentv1.Value{{Text: "unix:///a", Origin: "flag --host"},
					{Text: "tcp://[::1]:1", Origin: "/d:1"}}},
		}})}}
	checkAll(t, []row{
		{args: "config show", script: script, requests: []proto.Message{&agentv1.GetConfigRequest{}}, stdout: "" +
			"KEY       VALUE             FROM                          RELOAD\n" +
			"bip       192.168.10.1/24   /etc/fairlead/daemon.json:4   no\n" +
			"hosts     unix:///a         flag --host                   yes\n" +
			"hosts     tcp://[::1]:1     /d:1                          yes\n"},
		{args: "config effective -f '{{.Key}}={{.Value}}'", script: script,
			stdout: "bip=192.168.10.1/24\nhosts=unix:///a\nhosts=tcp://[::1]:1\n"},
		{args: "config show x",
			stderr: "fairlead: 'fairlead config show' requires no arguments; see 'fairlead config show " +
				"--help'\n", code: 1},
	})
}

func TestConfigReloadPrintsChanges(t *testing.T) {
	answer := clienttest.Answers(&agentv1.ReloadConfigResponse{Warnings: []string{"beware"}, Changes: []*agentv1.Change{
		{Key: "mtu", Before: []string{"1500"}, After: []string{"1400"}, Applied: true},
		{Key: "dns", After: []string{"1.1.1.1", "::1"}, Applied: true},
		{Key: "bip", Before: []string{"10.0.0.1/24"}},
	}})
	restart := "bip: 10.0.0.1/24 -> not set (restart required)\n"
	checkAll(t, []row{
		{args: "config reload", script: clienttest.Script{"ReloadConfig": {answer}},
			requests: []proto.Message{&agentv1.ReloadConfigRequest{}},
			stdout:   "mtu: 1500 -> 1400\ndns: not set -> 1.1.1.1 ::1\n" + restart, stderr: "WARNING: beware\n"},
		{args: "config reload --dry-run", script: clienttest.Script{"ReloadConfig": {answer}},
			requests: []proto.Message{&agentv1.ReloadConfigRequest{DryRun: true}},
			stdout: "mtu: 1500 -> 1400 (applied by a reload)\ndns: not set -> 1.1.1.1 ::1 (applied by a reload)\n" +
				restart, stderr: "WARNING: beware\n"},
		{args: "config reload",
			script: clienttest.Script{"ReloadConfig": {clienttest.Answers(&agentv1.ReloadConfigResponse{})}},
			stdout: "no changes\n"},
		{args: "config reload --renumber",
			script: clienttest.Script{"ReloadConfig": {clienttest.Answers(&agentv1.ReloadConfigResponse{})},
				"WaitNetwork": {clienttest.Answers(&networkv1.WaitNetworkResponse{})},
				"ListNetworks": {clienttest.Answers(&networkv1.ListNetworksResponse{
					Networks: []*networkv1.Network{{Name: "bridge", Warnings: []string{"look"}},
						{Name: "n1", Warnings: []string{"away"}}}})}},
			requests: []proto.Message{&agentv1.ReloadConfigRequest{Renumber: true},
				&networkv1.WaitNetworkRequest{Reference: "bridge"}, &networkv1.ListNetworksRequest{}},
			stdout: "no changes\n", stderr: "WARNING: look\n"},
		{args: "config reload",
			script: clienttest.Script{"ReloadConfig": {clienttest.Answers(
				&agentv1.ReloadConfigResponse{Changes: []*agentv1.Change{
					{Key: "bip", After: []string{"10.0.0.1/24"},
						Applied: true}}})}, "WaitNetwork": {clienttest.Fails(fault.NotFoundf("network bridge",
				"not found"))}},
			stdout: "bip: not set -> 10.0.0.1/24\n"},
		{args: "config reload", script: clienttest.Script{"ReloadConfig": {clienttest.Fails(errors.Join(
			fault.New(fault.Invalid, "bip (/d:1)", "is wrong"), fault.New(fault.Invalid, "mtu (/d:2)",
				"is wrong, too")))}},
			stderr: "fairlead: bip (/d:1): is wrong\nfairlead: mtu (/d:2): is wrong, too\n", code: 1},
	})
}

func TestConfigCheckReportsAllErrors(t *testing.T) {
	dir := inDir(t, map[string]string{
		"good.json": `{"bip": "192.168.10.1/24"} // fine`,
		"deamon.json": "{\n\"bip\": \"192.168.1.5/24\",\n\"fixed-cidr\": \"10.20.0.0/16\",\n\"default-gateway\": " +
			"\"10.20.1.1\",\n" +
			"\"dsn\": [\"1.1.1.1\"],\n\"mtu\": \"1500\",\n\"mtu\": 1400\n}",
		"broken.json": "{\n\"bip\": ,\n}",
	})
	checkAll(t, []row{
		{args: "config check good.json", stdout: "good.json: OK\n", requests: []proto.Message{}},
		{args: "config check " + dir + "/deamon.json", code: 1, stderr: "" +
			"WARNING: configuration file " + dir +
			"/deamon.json: the agent reads daemon.json unless --config-file is given\n" +
			"fairlead: mtu (" + dir + "/deamon.json:7): is already set in line 6; keep one of them\n" +
			"fairlead: dsn (" + dir + "/deamon.json:5): unknown key; did you mean dns?\n" +
			"fairlead: mtu (" + dir + "/deamon.json:6): must be a number\n" +
			"fairlead: fixed-cidr (" + dir + "/deamon.json:3), default-gateway (" + dir +
			"/deamon.json:4): 10.20.0.0/16 and 10.20.1.1 are outside of 192.168.1.0/24, " +
			"the subnet of bip (" + dir + "/deamon.json:2); move them into 192.168.1.0/24, or change bip\n"},
		{args: "config check broken.json", code: 1,
			stderr: "fairlead: configuration file broken.json: is not JSON: line 2, column 8: invalid character " +
				"',' at start of value; correct the syntax; // and /* */ comments are allowed\n"},
		{args: "config check missing.txt", code: 1,
			stderr: "fairlead: configuration file missing.txt: cannot be read: no such file or directory; use a " +
				"readable file, or remove --config-file\n"},
	})
}
