package names

import (
	"log/slog"
	"sync"
	"time"

	"github.com/fairlead/fairlead/agent/notify"
	"github.com/fairlead/fairlead/services/dnsagent/internal/files"
	"github.com/fairlead/fairlead/services/dnsagent/internal/registration"
)

const (
	// publishTime bounds the wait of a change for its files. A container that delays them longer is
	// not waited for.
	publishTime = 100 * time.Millisecond
	// publishAgain and publishAgainMax bound the retry delay of a file that cannot be written.
	publishAgain    = 50 * time.Millisecond
	publishAgainMax = 5 * time.Second
)

// publisher writes changed name files independently of the store. A container that blocks its own
// files delays nothing else. It is safe for concurrent use.
type publisher struct {
	files files.Publisher
	log   *slog.Logger
	done  <-chan struct{} // closed to stop writing

	mu   sync.Mutex
	jobs map[string]*job // by owner
	all  sync.WaitGroup
}

// job holds the pending writes of one owner.
type job struct {
	dir     *files.Dir // nil until the first write
	left    registration.Contents
	intents int             // announced changes that are not in left yet
	waiting []chan struct{} // closed after the next attempt
	wake    notify.Signal   // notified if there is more to write, or it ended
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
		j = &job{wake: notify.NewSignal()}
		p.jobs[owner] = j
	}
	j.intents++
	if err := p.files.MarkStale(owner); err != nil {
		p.log.Debug("cannot mark name files, a crash now leaves them old", "owner", owner, "error", err)
	}
}

// withdraw cancels an announced change.
func (p *publisher) withdraw(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[owner]; j != nil {
		j.intents--
		p.removeIdle(owner, j)
	}
}

// publish writes the given contents by owner, replacing pending ones. Nil contents are not written.
// It waits briefly for the first attempt.
func (p *publisher) publish(changes map[string]registration.Contents) {
	var all []<-chan struct{}
	for owner, c := range changes {
		if tried := p.enqueue(owner, c); tried != nil {
			all = append(all, tried)
		}
	}

	timeout := time.NewTimer(publishTime)
	defer timeout.Stop()

	for _, tried := range all {
		select {
		case <-tried:
		case <-timeout.C:
			return
		}
	}
}

// enqueue adds contents to the job of an owner. It returns a channel that is closed after the next
// attempt, nil if there is none.
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
			p.removeIdle(owner, j)
			return nil
		}
		j.dir = dir
		p.all.Go(func() { p.work(owner, j) })
	}

	tried := make(chan struct{})
	j.waiting = append(j.waiting, tried)
	j.wake.Notify()
	return tried
}

// forget drops the pending writes of an owner.
func (p *publisher) forget(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j := p.jobs[owner]; j != nil {
		j.ended = true
		j.wake.Notify()
		delete(p.jobs, owner)
	}
}

// removeIdle removes a job without pending writes, and the stale mark of its files. mu must be
// held.
func (p *publisher) removeIdle(owner string, j *job) {
	if j.ended || j.intents > 0 || !empty(j.left) || p.jobs[owner] != j {
		return
	}
	delete(p.jobs, owner)
	j.ended = true
	j.wake.Notify()
	if err := p.files.MarkFresh(owner); err != nil {
		p.log.Debug("cannot unmark name files, the next start writes them again", "owner", owner, "error", err)
	}
}

// work writes until the job is done.
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
			j.wake.Notify()
		case <-p.done:
		}
		again = min(2*again, publishAgainMax)
	}
}

// next waits for pending writes. It returns false if there will be none.
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

// attempt writes the pending contents once, without a lock, and reports whether some remain.
func (p *publisher) attempt(owner string, j *job, log *slog.Logger) (failed bool) {
	p.mu.Lock()
	c, waiting := j.left, j.waiting
	j.left, j.waiting = registration.Contents{}, nil
	j.intents++ // keeps removeIdle from removing the job
	p.mu.Unlock()
	left, err := j.dir.Publish(c)
	if err != nil {
		log.Warn("cannot write name files, retrying", "error", err)
	}

	p.mu.Lock()
	defer p.mu.Unlock()

	j.intents--
	j.left = merged(j.left, left)
	p.removeIdle(owner, j)
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
	return registration.Contents{Hostname: choose(newer.Hostname, older.Hostname), Hosts: choose(newer.Hosts,
		older.Hosts),
		ResolvConf: choose(newer.ResolvConf, older.ResolvConf)}
}

func empty(c registration.Contents) bool {
	return c.Hostname == nil && c.Hosts == nil && c.ResolvConf == nil
}

// close waits briefly for attempts in progress, which a container can block.
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

// republish writes files that are marked stale.
func (p *publisher) republish(owner string, c registration.Contents) {
	p.intend(owner)
	_ = p.enqueue(owner, c)
}
