// Package state stores the state of a service: go-memdb tables for reading, backed by one bbolt file.
//
// A transaction is on disk before Update returns and visible to readers only then. Stored objects
// must not be modified: put a modified copy instead. Each service declares its tables in its own
// store package, which wraps this one; no other package imports it.
//
// # Identity
//
// The stores of a host belong together. The first store that is opened creates the file "generation"
// in the data root. Its content, a random ID, is also stored in every store. All services of a host
// share the data root, so each can compare its store with this file. Services with different data
// roots have different generations.
//
//	<data root>/generation         the ID of this generation
//	<data root>/NAME.db            a store
//	<data root>/NAME.db.v1         a copy from before a format change
//	<data root>/backup/NAME.db     the last backup, at most one day older than the last change
//	<data root>/backup/NAME.db.1   the previous backup
//	<data root>/backup/NAME.log    the commits since the backup
//	<data root>/quarantine/…       replaced files, which are never deleted
//
// A commit is written to the log after it is on disk in the store, without fsync, so a commit costs
// one fsync. After a power failure the log can be incomplete. The next Open detects this and creates
// a backup.
//
// Open compares store, generation and log. A store that is a few commits behind its log is updated
// from it. A store that is missing, empty, damaged, of another generation or further behind is
// rejected, unless the Config has a Choice. The structure of the file is checked before it is mapped.
//
// # Format
//
// Files have a format, which this package defines, and records have a version, which the service
// defines. Open rejects newer formats, newer versions and unknown fields. Format 1 files have no
// format number. A mark in every table, which is not a valid record, prevents agents that only know
// format 1 from opening a newer file.
package state
