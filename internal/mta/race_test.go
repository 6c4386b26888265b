//go:build race

package mta

// underRace: the race detector allocates for itself, and empties pools at random.
const underRace = true
