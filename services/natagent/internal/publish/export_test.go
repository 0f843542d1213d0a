package publish

// FinishDeletions waits for pending conntrack deletions.
func (p *Publisher) FinishDeletions() { p.deleter.finish() }
