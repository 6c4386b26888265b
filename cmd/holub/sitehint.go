package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/holub-mail/holub/internal/admin"
)

// hintedSites is how many sites are named to whom meant none of them.
const hintedSites = 5

// siteHint says what sites there are, with a space in front, after one was named that has no mail: those first that are
// written most alike. It is "" where none was named, or nobody can tell.
func siteHint(ctx context.Context, desk admin.Desk, wanted string) string {
	if wanted == "" {
		return ""
	}
	sites, err := desk.Sites(ctx)
	if err != nil {
		return ""
	}
	if len(sites) == 0 {
		return " No site has mail that waits."
	}
	near, total := nearSites(wanted, sites)
	text := " These sites have mail: " + strings.Join(near, "  ")
	if more := total - len(near); more > 0 {
		text += fmt.Sprintf("  and %d more (holub queue)", more)
	}
	return text
}

// nearSites gives the names of the sites that are written most like wanted, and how many there are of all.
func nearSites(wanted string, sites []admin.Site) (near []string, total int) {
	wanted = strings.ToLower(wanted)
	distances := map[string]int{}
	note := func(lane, site string) {
		shown := site
		if site == "" {
			shown = lane
		}
		shown = printable([]byte(admin.ShortSite(shown)))
		for _, name := range admin.SiteNames(lane, site) {
			d := distance(wanted, name)
			if old, known := distances[shown]; name != "" && (!known || d < old) {
				distances[shown] = d
			}
		}
	}
	for _, s := range sites {
		total++
		if s.Name != "" {
			note("", s.Name)
			for _, lane := range s.Lanes {
				note(lane, s.Name)
			}
			continue
		}
		total += max(s.LaneCount, len(s.Lanes)) - 1
		for _, lane := range s.Lanes { // not looked up yet
			note(lane, "")
		}
	}
	for name := range distances {
		near = append(near, name)
	}
	slices.SortFunc(near, func(a, b string) int {
		if distances[a] != distances[b] {
			return distances[a] - distances[b]
		}
		return strings.Compare(a, b)
	})
	return near[:min(len(near), hintedSites)], total
}

// distance counts the letters to be added, taken away or changed to make b of a. Of long names only the beginnings count.
func distance(a, b string) int {
	const most = 100
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
