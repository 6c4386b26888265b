package lsm

import (
	"encoding/binary"
	"errors"
	"io"
)

// The log and the manifest are made of blocks of 32 KiB, and these of chunks, which never cross the end of a block: a
// checksum of 4 octets, the length of the payload of 2, the kind of 1; in the log then its number in 4 octets, and in the
// newest format how far it was synced when the chunk was written, in 8. A record is one chunk or a first, some middle, and a
// last one. After its last chunk a log that was closed has a header of zeros that names the next number.
const (
	blockOfLog     = 32 << 10
	plainHeader    = 7
	numberedHeader = plainHeader + 4
	syncedHeader   = numberedHeader + 8
)

// chunkPlace is where a chunk stands in its record.
type chunkPlace uint8

const (
	wholeRecord chunkPlace = iota
	firstOfRecord
	middleOfRecord
	lastOfRecord
)

// logChunk is a chunk whose checksum is right.
type logChunk struct {
	place   chunkPlace
	end     int    // behind it, from its start
	synced  uint64 // offset up to which the file was synced when it was written; 0 where it does not say
	payload []byte
}

// found is what stands at a place of a block.
type found uint8

const (
	badChunk   found = iota // nothing that can be read
	goodChunk               // a chunk
	endOfBlock              // no chunk fits any more
	endOfLog                // the mark of a closed log
)

// readChunk reads the chunk at the start of b, which reaches to the end of its block.
func readChunk(b []byte, number uint32) (logChunk, found) {
	if len(b) < plainHeader {
		return logChunk{}, endOfBlock
	}
	sum, length, kind := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if sum == 0 && length == 0 && kind == 0 && len(b) < syncedHeader && allZero(b) {
		return logChunk{}, endOfBlock
	}
	if kind == 0 || kind > 12 {
		return logChunk{}, badChunk
	}
	header := [...]int{plainHeader, numberedHeader, syncedHeader}[(kind-1)/4]
	if header+length > len(b) {
		return logChunk{}, badChunk
	}
	if header > plainHeader {
		n := binary.LittleEndian.Uint32(b[plainHeader:])
		if n == number+1 && sum == 0 && length == 0 && kind == 5 {
			return logChunk{end: header}, endOfLog
		}
		if n != number {
			return logChunk{}, badChunk
		}
	}
	if sum != checksum(b[6:header+length]) {
		return logChunk{}, badChunk
	}
	c := logChunk{place: chunkPlace((kind - 1) % 4), end: header + length, payload: b[header : header+length]}
	if header == syncedHeader {
		c.synced = binary.LittleEndian.Uint64(b[numberedHeader:])
	}
	return c, goodChunk
}

func allZero(b []byte) bool {
	for _, o := range b {
		if o != 0 {
			return false
		}
	}
	return true
}

// logState is what a scan of a log or manifest found.
type logState struct {
	bad    int64 // offset of the first place that can't be read; -1: none
	proven bool  // what was synced lies behind bad: no loss of power left it so
	closed bool  // the mark of a closed log was found
}

// scanLog reads a log or, with number 0, a manifest to its end, past what can't be read. visit gets each record that is
// whole; it may be nil.
//
// A log whose power was lost ends in a place that can't be read as well. What tells the two apart is a chunk behind it that
// says the file had been synced further, or the mark of a closed log; a manifest has neither, and any chunk behind counts.
func scanLog(file io.Reader, number uint32, visit func(record []byte) error) (logState, error) {
	state := logState{bad: -1}
	s := logScan{number: number, state: &state, visit: visit}
	buf := make([]byte, blockOfLog)
	for at := int64(0); ; at += blockOfLog {
		n, err := io.ReadFull(file, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return state, err
		}
		if err := s.block(buf[:n], at); err != nil {
			return state, err
		}
		if n < blockOfLog || state.closed {
			break
		}
	}
	if s.partial && state.bad < 0 {
		state.bad = s.begun // its last record has no end
	}
	return state, nil
}

type logScan struct {
	number  uint32
	state   *logState
	visit   func([]byte) error
	record  []byte
	partial bool  // a record has begun
	begun   int64 // offset of its first chunk
}

// block reads one block, which begins at the offset at.
func (s *logScan) block(b []byte, at int64) error {
	for i := 0; i < len(b); {
		c, what := readChunk(b[i:], s.number)
		switch what {
		case endOfBlock:
			return nil
		case badChunk:
			s.spoilt(at + int64(i))
			i++ // the next chunk may begin anywhere
		case endOfLog:
			s.state.closed = true
			s.state.proven = s.state.proven || s.state.bad >= 0
			return nil // what is behind it is from the file's last use
		case goodChunk:
			if s.state.bad >= 0 && (s.number == 0 || c.synced > uint64(s.state.bad)) {
				s.state.proven = true
			}
			if err := s.chunk(c, at+int64(i)); err != nil {
				return err
			}
			i += c.end
		}
	}
	return nil
}

// spoilt notes a place that can't be read. A record that has begun is lost with it.
func (s *logScan) spoilt(offset int64) {
	if s.state.bad < 0 {
		s.state.bad = offset
	}
	s.partial = false
}

// chunk adds a chunk to its record.
func (s *logScan) chunk(c logChunk, offset int64) error {
	switch {
	case c.place == wholeRecord || c.place == firstOfRecord:
		s.record, s.begun, s.partial = append(s.record[:0], c.payload...), offset, true
	case !s.partial:
		return nil // its first chunk can't be read
	default:
		s.record = append(s.record, c.payload...)
	}
	if c.place == firstOfRecord || c.place == middleOfRecord {
		return nil
	}
	s.partial = false
	if s.visit == nil {
		return nil
	}
	return s.visit(s.record)
}

// mendChunk turns back one bit of the chunk at the start of b, which reaches to the end of its block: of its payload, its
// header, or its checksum.
func mendChunk(b []byte, number uint32) bool {
	if len(b) < plainHeader {
		return false
	}
	for i := range min(len(b), syncedHeader) { // a header decides what the checksum is of
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, what := readChunk(b, number); what != badChunk {
				return true
			}
			b[i] ^= 1 << bit
		}
	}
	length, kind := int(binary.LittleEndian.Uint16(b[4:])), b[6]
	if kind == 0 || kind > 12 {
		return false
	}
	header := [...]int{plainHeader, numberedHeader, syncedHeader}[(kind-1)/4]
	return header+length <= len(b) && unflip(b[6:header+length], binary.LittleEndian.Uint32(b))
}
