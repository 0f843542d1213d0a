package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fleetFaults lists the faults of a fleet and its bad input, and below each the directories of its tests with their
// names.
const fleetFaults = `
a host is cut off from the store (F1)
	deploy/e2e TestFleetOfThreeHosts TestFleetSurvivesRandomFaults
	services/netagent/internal/overlay TestNetworkDeletedWhileCutOff
the store is away (F2)
	deploy/e2e TestFleetFaults
	services/fleetagent/internal/fleet TestFleetSurvivesRestarts
	services/fleetagent/internal/outage TestOutageIsNoted
	services/netagent/internal/overlay TestStoreAway
one member of the store is lost (F3)
	services/fleetagent/internal/fleet TestManagersComeAndGo
	services/fleetagent/internal/outage TestCallsAreRepeatedUntilAnotherLeader
a host is lost (F4)
	services/fleetagent/internal/fleet TestHostsJoinAndLeave TestBlocksBelongToOneHost
	services/fleetagent/internal/ledger TestReleasedBlockInQuarantine TestSweepForgetsRemovedHosts
a removed host returns (F5)
	services/fleetagent/internal/fleet TestRemovedHostIsFenced TestRemovedHostIsDenied
a host returns with old records (F6)
	services/fleetagent/internal/fleet TestReplacedStoreIsNotContinued TestCopyOfAHostIsRefused
	services/fleetagent/internal/replica TestDamagedRecordIsLeftOut
the clock of a host is wrong (F7)
	services/fleetagent/internal/fleet TestHostsThatDoNotFitAreRefused TestDoctorNamesWhatIsWrong
	services/fleetagent/internal/pki TestVerifyRefusesOthers
a host is a copy of another one (F8)
	services/fleetagent/internal/fleet TestCopyOfAHostIsRefused
many hosts are lost together (F9)
	services/fleetagent/internal/fleet TestLossOfManyHostsChangesNothing
	services/fleetagent/internal/view TestManyLostHostsRaiseAnAlarm
what a host has not seen was compacted (F10)
	services/fleetagent/internal/fleet TestExternalStore
the store is an older or another one (F11)
	services/fleetagent/internal/fleet TestStoreRestoredFromBackup TestAnotherClusterIsNotUsed
the store is full (F12)
	services/fleetagent/internal/fleet TestUnusableExternalStoreLeavesNoTrace
hosts and stores are of different versions (F13)
	deploy/e2e TestFleetOnServersOfEtcd
	services/fleetagent/internal/fleet TestRecordsOfNewerVersionsAreKept
	services/fleetagent/internal/record TestUnknownFieldsAreKept
agents are killed at any step (F14)
	deploy/crash TestCrashPointsRecover
	deploy/e2e TestFleetSurvivesRandomFaults
addresses overlap (F15)
	services/fleetagent/internal/ledger TestOverlapsRejected
	services/fleetagent/internal/preflight TestHostsThatCannotHaveTheNetworksAreRefused
no address is left (F16)
	deploy/e2e TestFleetFaults TestOverlayNetworks
	services/fleetagent/internal/ledger TestExhaustionNamesOwners TestClaimsAreDisjoint
records are damaged (F17)
	services/fleetagent/internal/fleet TestDamagedRecordIsSetAside
	services/fleetagent/internal/record TestDamagedValuesAreRecognised
certificates, tokens and rights (F18)
	services/fleetagent/internal/fleet TestHostWritesItsOwnRecordsOnly TestTokensAreUsedUp TestCertificatesAreRenewed
	services/fleetagent/internal/pki TestVerifyRefusesOthers
the data path is broken (F19)
	deploy/e2e TestFleetOfThreeHosts
	services/netagent/internal/pathprobe TestProbesMeetFirewallsAndMTUs
another program changes the kernel (F20)
	deploy/e2e TestOverlayNetworks
a network is deleted while a host is cut off (F24)
	deploy/e2e TestFleetFaults
	services/netagent/internal/overlay TestNetworkDeletedWhileCutOff
a token is cut or altered
	services/fleetagent/internal/token TestEachCutOrAlteredTokenIsRefused TestTokenErrorsNameTheFault FuzzParse
a token has expired, was used, or is of another fleet
	services/fleetagent/internal/fleet TestTokensAreUsedUp TestOneTokenAdmitsExactlyItsUses
	services/fleetagent/internal/fleet TestTokenOfAnotherAuthorityIsRefused
a host joins twice, itself, or with a name that is taken
	services/fleetagent/internal/fleet TestBadJoinsLeaveNoTrace
the clock or the addresses of a host that joins do not fit
	services/fleetagent/internal/fleet TestHostsThatDoNotFitAreRefused
a record is corrupted, newer, or edited by hand
	services/fleetagent/internal/fleet TestDamagedRecordIsSetAside TestRecordsOfNewerVersionsAreKept
	services/fleetagent/internal/record FuzzDecode FuzzPrefixName
	services/fleetagent/internal/view FuzzApply
	services/fleetagent/internal/replica FuzzParse TestDamagedRecordIsLeftOut
the store is full or read-only
	services/fleetagent/internal/fleet TestUnusableExternalStoreLeavesNoTrace
the store is restored from an older backup, or is another cluster
	services/fleetagent/internal/fleet TestStoreRestoredFromBackup TestReplacedStoreIsNotContinued
	services/fleetagent/internal/fleet TestAnotherClusterIsNotUsed
`

// TestFaultsOfAFleetHaveTests checks that each fault has tests, and that these exist.
func TestFaultsOfAFleetHaveTests(t *testing.T) {
	fault, tests := "", 0
	for line := range strings.Lines(strings.TrimSpace(fleetFaults)) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, "\t") {
			if fault != "" && tests == 0 {
				t.Errorf("%s: no tests", fault)
			}
			fault, tests = strings.TrimSpace(line), 0
			continue
		}
		text := testsIn(t, words[0])
		for _, name := range words[1:] {
			if tests++; !strings.Contains(text, "\nfunc "+name+"(") {
				t.Errorf("%s: no test %s in %s", fault, name, words[0])
			}
		}
	}
}

// testsIn returns the text of the tests of a directory.
func testsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
	return text.String()
}
