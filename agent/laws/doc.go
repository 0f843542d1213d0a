// Package laws contains tests that enforce the architecture: which package may import which, how
// packages are written, and which words they use. It contains no other code.
//
// Each rule is a row of a table with its reason and an example that breaks it. To change a rule,
// edit its row and its reason; do not work around it.
package laws
