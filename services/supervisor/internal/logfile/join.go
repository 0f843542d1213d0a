package logfile

// joinSize is the size at which joined output is emitted.
const joinSize = 32 << 10

// joiner joins adjacent records of one stream, so that a caller that does not need their times handles
// fewer entries.
type joiner struct {
	emit   func(Entry) error
	entry  Entry // without data; its time is that of the last record
	data   []byte
	filled bool
}

// add adds an entry. It emits the earlier ones if they are of another stream, or enough.
func (j *joiner) add(e Entry) error {
	if j.filled && (e.Stream != j.entry.Stream || len(j.data)+len(e.Data) > joinSize) {
		if err := j.flush(); err != nil {
			return err
		}
	}
	j.data = append(j.data, e.Data...)
	j.entry, j.filled = Entry{Time: e.Time, Stream: e.Stream, Partial: e.Partial}, true
	return nil
}

// flush emits what was added since the last flush.
func (j *joiner) flush() error {
	if !j.filled {
		return nil
	}
	e := j.entry
	e.Data = j.data
	j.filled = false
	err := j.emit(e)
	j.data = j.data[:0]
	return err
}
