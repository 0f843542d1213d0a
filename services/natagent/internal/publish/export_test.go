package publish

// Settle waits for the flows that are being cut behind answers.
func (p *Publisher) Settle() { p.cutting.finish() }
