package queue

import "time"

// Schedule says when a recipient that was refused for now is tried again.
type Schedule struct {
	Retry  []time.Duration // pause after the first, second, ... attempt; the last one repeats
	GiveUp time.Duration   // age of the message at which the next failure is final
}

// jitterPart is how far a pause may move to both sides, so that what failed together does not come back together.
const jitterPart = 0.1

// jitter moves a pause by up to jitterPart; random is from [0,1).
func jitter(pause time.Duration, random float64) time.Duration {
	return time.Duration(float64(pause) * (1 + jitterPart*(2*random-1)))
}

// Next gives the time of the next attempt after the attempts-th one failed at now, for a message that arrived at arrived.
// random is from [0,1). giveUp tells that there is none: the message is too old. The last attempt is made when the message
// reaches that age, not a pause later.
func (s Schedule) Next(attempts int, arrived, now time.Time, random float64) (next time.Time, giveUp bool) {
	end := arrived.Add(s.GiveUp)
	if !now.Before(end) {
		return time.Time{}, true
	}
	next = now.Add(jitter(s.pause(attempts), random))
	if next.After(end) {
		next = end
	}
	return next, false
}

// pause is the one after the attempts-th attempt, without jitter.
func (s Schedule) pause(attempts int) time.Duration {
	n := len(s.Retry)
	if n == 0 {
		return time.Minute
	}
	return s.Retry[min(max(attempts, 1), n)-1]
}
