// Package report holds what a comparison of mail servers measured, and shows it: as a table in plain text or Markdown, as
// JSON that can be read again, and as charts in SVG.
//
// It never measures, knows no server by name, and rounds nothing that it keeps: a Report holds every single run, medians
// and ratios are worked out when it is shown. Only bench calls it.
//
//	r := report.Report{Reference: "postfix", Servers: servers, Works: works}
//	r.Runs = append(r.Runs, report.Run{Work: "relay", Server: "holub", Round: 1, Messages: 10_000, Seconds: 1.3, Value: 7692})
//	err := r.Text(os.Stdout)     // or r.JSON, r.Markdown, r.SVG
//
// A Curve is how the cost of a message grows with one thing, the number of sessions or of recipients. It is shown the same
// way, and Verdicts says whether it grows faster than it may.
package report
