package lsm

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/batchrepr"
)

// FuzzScanLog reads noise as a log: it ends, gives only records that are there whole, and mends no more than it was given.
func FuzzScanLog(f *testing.F) {
	// A chunk of each format, alone and with a record in two.
	chunk := func(kind byte, number uint32, payload string) []byte {
		b := []byte{0, 0, 0, 0, byte(len(payload)), byte(len(payload) >> 8), kind}
		if kind > 4 {
			b = append(b, byte(number), byte(number>>8), byte(number>>16), byte(number>>24))
		}
		if kind > 8 {
			b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		}
		b = append(b, payload...)
		sum := checksum(b[6:])
		copy(b, []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
		return b
	}
	f.Add(chunk(1, 7, "plain"))
	f.Add(append(chunk(6, 7, "first"), chunk(8, 7, "last")...))
	f.Add(append(chunk(9, 7, "synced"), 0, 0, 0, 0, 0, 0, 5, 8, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 0
		state, err := scanLog(bytes.NewReader(b), 7, func(record []byte) error {
			size += len(record)
			return nil
		})
		if err != nil || size > len(b) || state.bad >= int64(len(b)) && len(b) > 0 {
			t.Fatalf("%+v, %d octets of records in %d, %v", state, size, len(b), err)
		}
		again := bytes.Clone(b)
		if mendChunk(again, 7) {
			if _, what := readChunk(again, 7); what == badChunk {
				t.Error("mended, and still bad")
			}
		} else if !bytes.Equal(again, b) {
			t.Error("not mended, and changed")
		}
	})
}

// TestScanLog tells a torn end from damage by what lies behind.
func TestScanLog(t *testing.T) {
	s := newSound(t, false)
	names, err := s.disk.List(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		number, ok := logNumber(name)
		if !ok {
			continue
		}
		data := read(t, s.disk, testFolder+"/"+name)
		var records [][]byte
		state, err := scanLog(bytes.NewReader(data), number, func(record []byte) error {
			if _, ok := batchrepr.ReadHeader(record); !ok {
				t.Errorf("%s: a record of %d octets is no batch", name, len(record))
			}
			records = append(records, bytes.Clone(record))
			return nil
		})
		if err != nil || state.bad >= 0 || !state.closed || len(records) == 0 {
			t.Fatalf("%s: %+v, %v, %d records", name, state, err, len(records))
		}
		half := 0 // of what is the log's; what is behind may be from the file's last use
		for _, record := range records {
			half += len(record) / 2
		}
		if state, _ := scanLog(bytes.NewReader(data[:half]), number, nil); state.proven || state.closed {
			t.Errorf("%s cut in half: %+v", name, state)
		}
		bad := bytes.Clone(data)
		copy(bad[half:], make([]byte, 100))
		n := 0
		state, err = scanLog(bytes.NewReader(bad), number, func([]byte) error { n++; return nil })
		if err != nil || !state.proven || n == 0 || n >= len(records) {
			t.Errorf("%s with a hole: %+v, %v, %d of %d records", name, state, err, n, len(records))
		}
	}
}
