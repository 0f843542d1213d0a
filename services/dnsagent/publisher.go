package dnsagent

import (
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

const (
	// publishTime is how long a change waits for the files to follow. A container that delays them longer is not waited for.
	publishTime = 100 * time.Millisecond
	// publishAgain and publishAgainMax bound the delay until a file that could not be written is tried again.
	publishAgain    = 50 * time.Millisecond
	publishAgainMax = 5 * time.Second
)

// publisher writes changed name files beside the changes of the store: a container that stands in the way of its own files
// delays and fails nothing but them. It is safe for concurrent use.
type publisher struct {
	files files.Publisher
	log   *slog.Logger
	done  <-chan struct{} // closed when no more is to be written

	mu   sync.Mutex
	jobs map[string]*job // by owner
	all  sync.WaitGroup
}

// job is what remains to be written for one owner.
type job struct {
	dir     *files.Dir // nil until there is something to write
	left    registration.Contents
	intents int             // changes that are not in left yet
	waiting []chan struct{} // closed after the next attempt
	wake    chan struct{}   // one token: there is more to write, or nothing any more
	ended   bool
}

func newPublisher(done <-chan struct{}, f files.Publisher, log *slog.Logger) *publisher {
	return &publisher{files: f, log: log, done: done, jobs: map[string]*job{}}
}

// intend announces a change before it is stored, so that its files are written after a crash too. The change is either
// published or withdrawn afterwards.
func (p *publisher) intend(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[owner]
	if j == nil {
		j = &job{wake: make(chan struct{}, 1)}
		p.jobs[owner] = j
	}
	j.intents++
	if err := p.files.MarkStale(owner); err != nil {
		p.log.Debug("cannot mark name files, a crash now leaves them old", "owner", owner, "error", err)
	}
}

// withdraw ends an intent without a change.
func (p *publisher) withdraw(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[owner]; j != nil {
		j.intents--
		p.settle(owner, j)
	}
}

// publish writes contents that are not nil, by owner, in place of what was to be written before. It waits a moment for that.
func (p *publisher) publish(changes map[string]registration.Contents) {
	var all []<-chan struct{}
	for owner, c := range changes {
		if tried := p.enqueue(owner, c); tried != nil {
			all = append(all, tried)
		}
	}
	patience := time.NewTimer(publishTime)
	defer patience.Stop()
	for _, tried := range all {
		select {
		case <-tried:
		case <-patience.C:
			return
		}
	}
}

// enqueue returns nil if nothing is to be waited for.
func (p *publisher) enqueue(owner string, c registration.Contents) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[owner]
	if j == nil {
		return nil // released in the meantime
	}
	j.intents--
	j.left = merged(c, j.left)
	if j.dir == nil {
		dir, err := p.files.Open(owner)
		if err != nil {
			p.log.Warn("cannot write name files", "owner", owner, "error", err)
			j.left = registration.Contents{}
			p.settle(owner, j)
			return nil
		}
		j.dir = dir
		p.all.Go(func() { p.work(owner, j) })
	}
	tried := make(chan struct{})
	j.waiting = append(j.waiting, tried)
	j.signal()
	return tried
}

// forget ends what is to be written for an owner.
func (p *publisher) forget(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[owner]; j != nil {
		j.ended = true
		j.signal()
		delete(p.jobs, owner)
	}
}

func (j *job) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// settle removes a job that has nothing to do, with the mark of its files. The caller has the lock.
func (p *publisher) settle(owner string, j *job) {
	if j.ended || j.intents > 0 || !empty(j.left) || p.jobs[owner] != j {
		return
	}
	delete(p.jobs, owner)
	j.ended = true
	j.signal()
	if err := p.files.MarkFresh(owner); err != nil {
		p.log.Debug("cannot unmark name files, the next start writes them again", "owner", owner, "error", err)
	}
}

// work writes until nothing is left.
func (p *publisher) work(owner string, j *job) {
	defer j.dir.Close()
	log := p.log.With("owner", owner)
	again := publishAgain
	for p.next(j) {
		failed := p.attempt(owner, j, log.With("retry_after", again))
		if !failed {
			again = publishAgain
			continue
		}
		select {
		case <-time.After(again):
			j.signal()
		case <-p.done:
		}
		again = min(2*again, publishAgainMax)
	}
}

// next waits for something to write. It reports false when there will be nothing any more.
func (p *publisher) next(j *job) bool {
	p.mu.Lock()
	over := j.ended
	p.mu.Unlock()
	if over {
		return false
	}
	select {
	case <-j.wake:
		p.mu.Lock()
		defer p.mu.Unlock()
		return !j.ended
	case <-p.done:
		return false
	}
}

// attempt writes what is left once, without a lock, and reports whether something remains.
func (p *publisher) attempt(owner string, j *job, log *slog.Logger) (failed bool) {
	p.mu.Lock()
	c, waiting := j.left, j.waiting
	j.left, j.waiting = registration.Contents{}, nil
	j.intents++ // which keeps settle from taking the job for done
	p.mu.Unlock()
	left, err := j.dir.Publish(c)
	if err != nil {
		log.Warn("cannot write name files, the container keeps the former ones for now", "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	j.intents--
	j.left = merged(j.left, left)
	p.settle(owner, j)
	for _, w := range waiting {
		close(w)
	}
	return !empty(left)
}

// merged returns the contents of newer, and those of older where newer has none.
func merged(newer, older registration.Contents) registration.Contents {
	choose := func(newer, older []byte) []byte {
		if newer != nil {
			return newer
		}
		return older
	}
	return registration.Contents{Hostname: choose(newer.Hostname, older.Hostname), Hosts: choose(newer.Hosts, older.Hosts),
		ResolvConf: choose(newer.ResolvConf, older.ResolvConf)}
}

func empty(c registration.Contents) bool {
	return c.Hostname == nil && c.Hosts == nil && c.ResolvConf == nil
}

// close waits for attempts that are under way, for a moment: a container may hold one up.
func (p *publisher) close() {
	over := make(chan struct{})
	go func() {
		p.all.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(publishTime):
	}
}

// republish writes the files again that are marked stale.
func (p *publisher) republish(owner string, c registration.Contents) {
	p.intend(owner)
	_ = p.enqueue(owner, c)
}
