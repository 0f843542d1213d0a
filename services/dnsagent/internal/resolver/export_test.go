package resolver

import "github.com/miekg/dns"

// Answer returns the response to a message over UDP, for fuzzing. Forwarded queries fail immediately
// without an upstream.
func (r *Resolver) Answer(message []byte) []byte {
	out := make(chan []byte, 1)
	r.handle(message, false, &r.all, func() {}, func(answer []byte) { out <- answer })
	r.all.Wait()
	select {
	case answer := <-out:
		return answer
	default:
		return nil
	}
}

// Believes reports whether an upstream response is accepted for a question.
func Believes(answer []byte, question dns.Question) bool { return sameQuestion(answer, question) }
