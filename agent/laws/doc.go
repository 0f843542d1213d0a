// Package laws holds the tests that keep the laws of the house: who may import whom, and how
// packages are made. Each law is a row of a table with its reason, and each row is shown to catch
// what it is there for.
//
// A law that is in the way is changed here, with its reason, and never worked around. There is no
// code in this package but tests.
package laws
