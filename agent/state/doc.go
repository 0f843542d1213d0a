// Package state holds the durable state of a service: go-memdb tables for reading, one bbolt file under them for durability.
//
// A transaction is on disk before Update returns; readers see it only then. Objects are not changed after they were put: to change
// one, put a changed copy. Each service declares its tables in its own store package, one file a table, and offers methods in the
// words of its domain; no other package imports this one.
//
// # Identity
//
// The stores of a host belong together. The first one that is opened creates the file "generation" in the data root; its content, a
// random id, is in every store. The services of a host share the data root, in one process or in several, so they compare
// their stores by this file and need not ask each other. Services with different data roots have different generations.
//
//	<data root>/generation         the id of this generation
//	<data root>/NAME.db            a store
//	<data root>/NAME.db.v1         the store as it was before its format changed
//	<data root>/backup/NAME.db     the last backup, at most a day old, or as old as the last change
//	<data root>/backup/NAME.db.1   the backup before
//	<data root>/backup/NAME.log    the commits since the backup
//	<data root>/quarantine/…       what was set aside. Nothing there is ever deleted
//
// A commit is written to the log after it is on disk in the store, and without fsync: a commit costs no more than one fsync. After
// the loss of power the log can be short, which the next Open notices and answers with a new backup.
//
// Open compares store, generation and log. A store that is some commits behind its log gets them back. A store that is missing, empty,
// damaged, of another generation or further behind is refused, unless the Config has a Choice. The file is not mapped before its
// structure was checked.
//
// # Format
//
// Files have a format, which this package defines, and records have a version, which the service defines. Open refuses what is newer
// than it knows, and fields that it does not know. Before format 2 there was none: a mark in every table, which is no record,
// keeps agents of that time from opening a newer file.
package state
