//go:build race

package lsm

// underRace: Pebble checks itself under the race detector, and every start takes thirty times as long.
const underRace = true
