package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A Report is one sitting: some servers did some works in turn, on one machine.
type Report struct {
	Began     time.Time
	Machine   Machine
	Reference string // the server that the others are held against: "postfix"
	Servers   []Server
	Works     []Work
	Limits    []Limit
	Runs      []Run
	Traces    []Trace
}

// Machine is where it ran, as far as it can be known. Fields that could not be learnt are empty.
type Machine struct {
	OS     string // "Debian GNU/Linux 12 (bookworm)"
	Kernel string
	CPU    string
	Cores  int
	Memory int64  // octets
	Disk   string // file system of the queues: "ext4"
}

// A Server is one of those compared. Absent says why it took no part; it is empty for one that did. Durability says where it
// promises its disk less than the others; it is empty where it does not.
type Server struct {
	Name       string
	Version    string `json:",omitempty"`
	Absent     string `json:",omitempty"`
	Durability string `json:",omitempty"`
}

// A Work is what the servers were given to do.
type Work struct {
	Name      string // short, for flags: "relay"
	Title     string // for people
	Unit      string // of Run.Value: "msg/s", "MiB"
	Goal      float64
	Less      bool   // a smaller Value is better; ratio and goal then say how many times smaller
	Generator string // which source and sink
	Note      string `json:",omitempty"`
}

// A Run is one server doing one work once. Times are in seconds of wall or processor time, sizes in octets.
type Run struct {
	Work, Server string
	Round        int
	Messages     int
	Recipients   int     // of all messages together
	Seconds      float64 // from the first connection to the end that the work is timed to
	Value        float64 // the result, in the work's unit
	ServerCPU    float64 // of the server's processes until the last message was handled
	SourceCPU    float64
	SinkCPU      float64
	Peak         int64         // the most memory of the server's processes together, shared pages counted once
	P50, P99     time.Duration `json:",omitempty"` // of one message, from MAIL to the last reply; 0 where not measured
	Error        string        `json:",omitempty"` // the run failed, and counts for nothing
}

// A Trace is a run whose system calls were counted. It is not timed.
type Trace struct {
	Work, Server string
	Messages     int
	Syncs        int    // fsync, fdatasync and their like
	Error        string `json:",omitempty"`
}

// A Limit is what the machine does without any server.
type Limit struct {
	Title  string
	Unit   string
	Values []float64
}

// A Row is all runs of one work by one server taken together.
type Row struct {
	Work   Work
	Server string
	Value  Summary
	// Ratio is the server's median against the reference's: above 1 is better than it. 0 where one of them has no result.
	Ratio     float64
	PerCPU    float64 // messages for a second of the server's processor time
	ServerCPU float64 // processors that the server kept busy: 1.2
	LoadCPU   float64 // the same for source and sink together
	Peak      int64   // octets, the largest of all runs
	// Syncs are those for each message, below 0 where they were not counted.
	Syncs    float64
	P50, P99 time.Duration // medians of the runs'
	Failed   int           // runs that failed
	Error    string        // of the first of those
}

// Rows gives a row for each work and each server that took part, in the order of Works and Servers.
func (r *Report) Rows() []Row {
	var rows []Row
	for _, w := range r.Works {
		reference := 0.0
		first := len(rows)
		for _, s := range r.Servers {
			row, ok := r.row(w, s.Name)
			if !ok {
				continue
			}
			if s.Name == r.Reference {
				reference = row.Value.Median
			}
			rows = append(rows, row)
		}
		for i := first; i < len(rows); i++ {
			v := rows[i].Value.Median
			if reference == 0 || v == 0 {
				continue
			}
			rows[i].Ratio = v / reference
			if w.Less {
				rows[i].Ratio = reference / v
			}
		}
	}
	return rows
}

// row takes the runs of one work by one server together. ok is false where there is none.
func (r *Report) row(w Work, server string) (row Row, ok bool) {
	row = Row{Work: w, Server: server, Syncs: -1}
	var values, perCPU, serverCPU, loadCPU, p50, p99 []float64
	for _, run := range r.Runs {
		if run.Work != w.Name || run.Server != server {
			continue
		}
		ok = true
		if run.Error != "" {
			if row.Failed++; row.Failed == 1 {
				row.Error = run.Error
			}
			continue
		}
		values = append(values, run.Value)
		row.Peak = max(row.Peak, run.Peak)
		if run.ServerCPU > 0 {
			perCPU = append(perCPU, float64(run.Messages)/run.ServerCPU)
		}
		if run.Seconds > 0 {
			serverCPU = append(serverCPU, run.ServerCPU/run.Seconds)
			loadCPU = append(loadCPU, (run.SourceCPU+run.SinkCPU)/run.Seconds)
		}
		if run.P50 > 0 {
			p50, p99 = append(p50, float64(run.P50)), append(p99, float64(run.P99))
		}
	}
	row.Value, row.PerCPU = Summarize(values), Summarize(perCPU).Median
	row.ServerCPU, row.LoadCPU = Summarize(serverCPU).Median, Summarize(loadCPU).Median
	row.P50, row.P99 = time.Duration(Summarize(p50).Median), time.Duration(Summarize(p99).Median)
	for _, t := range r.Traces {
		if t.Work == w.Name && t.Server == server && t.Error == "" && t.Messages > 0 {
			row.Syncs = float64(t.Syncs) / float64(t.Messages)
		}
	}
	return row, ok
}

// JSON writes the report for programs, and for Read.
func (r *Report) JSON(w io.Writer) error { return writeJSON(w, r) }

// Read reads what JSON wrote. Unknown fields are an error: the file is from another version.
func Read(r io.Reader) (*Report, error) {
	var report Report
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil {
		return nil, fmt.Errorf("read the report (is it the JSON that bench wrote?): %w", err)
	}
	return &report, nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
