//go:build !race

package mta

// underRace tells whether the race detector is on.
const underRace = false
