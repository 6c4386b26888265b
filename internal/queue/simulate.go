package queue

import "time"

// Planned is one row of a simulated schedule. Times are ages of the message.
type Planned struct {
	Attempt  int           // 1 is the first; 0: this row is the warning to the sender
	At       time.Duration // without jitter
	Min, Max time.Duration // if all jitter goes one way
	Last     bool          // the attempt whose failure is final
}

// Simulate lists the attempts of a message whose attempts all fail at once, as Next plans them, with the warning at the age
// warn (0 or beyond GiveUp: none). The first attempts attempts are listed and the last; more is the number of those between
// them that are not.
func (s Schedule) Simulate(warn time.Duration, attempts int) (rows []Planned, more int) {
	attempts = min(max(attempts, 1), 10_000)
	warned := warn <= 0 || warn >= s.GiveUp
	add := func(row Planned) {
		if !warned && row.At >= warn {
			rows = append(rows, Planned{At: warn, Min: warn, Max: warn})
			warned = true
		}
		rows = append(rows, row)
	}
	row := Planned{Attempt: 1}
	for ; row.At < s.GiveUp && row.Attempt <= attempts; row = s.after(row) {
		add(row)
	}
	more = s.left(row)
	add(Planned{Attempt: row.Attempt + more, At: s.GiveUp, Min: s.GiveUp, Max: s.GiveUp, Last: true})
	return rows, more
}

// after is the attempt after another.
func (s Schedule) after(row Planned) Planned {
	pause := s.pause(row.Attempt)
	cut := func(age time.Duration) time.Duration { return min(age, s.GiveUp) }
	return Planned{Attempt: row.Attempt + 1, At: cut(row.At + pause),
		Min: cut(row.Min + jitter(pause, 0)), Max: cut(row.Max + jitter(pause, 1))}
}

// left is the number of attempts from this one on before the age of give-up.
func (s Schedule) left(row Planned) int {
	n := 0
	for ; row.At < s.GiveUp && row.Attempt < len(s.Retry); row = s.after(row) {
		n++
	}
	if row.At < s.GiveUp { // from here on the last pause repeats
		pause := max(s.pause(row.Attempt), 1)
		n += int((s.GiveUp - row.At + pause - 1) / pause)
	}
	return n
}
