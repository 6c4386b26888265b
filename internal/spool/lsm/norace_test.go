//go:build !race

package lsm

// underRace tells whether the race detector is on.
const underRace = false
