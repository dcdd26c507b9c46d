package importer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/orielhq/oriel/internal/ingest"
)

// isOTLP reports whether a file begins with a document of OTLP, or has one on
// its second line: a file that was cut off in front begins inside of one.
func isOTLP(head []byte) bool {
	_, second, _ := bytes.Cut(head, []byte("\n"))
	return ingest.IsDocument(head) || ingest.IsDocument(second)
}

// otlp imports OTLP JSON as the Collector's file exporter writes it: a request
// on each line, or pretty-printed ones.
func (im *importer) otlp(ctx context.Context, in *input, fs *FileSummary) error {
	fs.Format = FormatOTLP
	passes, shift := int64(1), time.Duration(0)
	if im.o.ShiftToNow {
		passes = 2
		var last time.Time
		err := im.documents(ctx, in, passes, new(FileSummary), func(d *ingest.Document) error {
			if t := d.Last(); t.After(last) {
				last = t
			}
			return nil
		})
		if err != nil {
			return err
		}
		shift = im.shift(last, fs)
	}
	return im.documents(ctx, in, passes, fs, func(d *ingest.Document) error {
		if shift != 0 {
			d.Shift(shift)
		}
		return im.document(ctx, d, fs)
	})
}

// document stores what one document holds.
func (im *importer) document(ctx context.Context, d *ingest.Document, fs *FileSummary) error {
	points := int64(d.Metrics.DataPointCount())
	logs, logsRejected, spans, spansRejected := d.Records(im.now)
	if d.Logs.LogRecordCount() > 0 {
		b := im.logBatch(fs)
		b.tally.converted(logsRejected)
		for _, r := range logs {
			if err := b.add(ctx, r); err != nil {
				return err
			}
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if d.Traces.SpanCount() > 0 {
		b := im.spanBatch(fs)
		b.tally.converted(spansRejected)
		for _, s := range spans {
			if err := b.add(ctx, s); err != nil {
				return err
			}
		}
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if points == 0 {
		return nil
	}
	t := fs.signal(signalMetrics)
	t.Records += points
	oldest, newest, times := im.oldest(im.o.Retention.Metrics), im.now.Add(metricTolerance), Span{}
	d.RemovePoints(func(at time.Time) bool {
		switch {
		case at.IsZero():
			t.reject("no_time", 1)
		case at.Before(oldest):
			t.TooOld++
			t.TooOldTimes.add(at)
		case at.After(newest):
			t.TooNew++
			t.TooNewTimes.add(at)
		default:
			times.add(at)
			return false
		}
		return true
	})
	if points = int64(d.Metrics.DataPointCount()); points == 0 {
		return nil
	}
	rejected, err := im.w.Metrics.WriteOTLP(ctx, im.o.Tenant, d.Metrics)
	if err != nil {
		return &storeError{err}
	}
	t.samples(points, rejected, times)
	return nil
}

// converted counts what a converter left out.
func (t *Tally) converted(rejected map[string]int64) {
	for reason, n := range rejected {
		t.Records += n
		t.refuse(reason, n)
	}
}

// documents calls do with each document of a file, and counts what cannot be
// read in fs.
func (im *importer) documents(ctx context.Context, in *input, passes int64, fs *FileSummary, do func(*ingest.Document) error) error {
	r, err := im.text(ctx, in, passes)
	if err != nil {
		return err
	}
	lines := lineSource{r: r}
	first, err := lines.next(ingest.MaxDocumentBytes)
	for err == nil && len(bytes.TrimSpace(first.text)) == 0 {
		fs.Lines++
		fs.Empty++
		first, err = lines.next(ingest.MaxDocumentBytes)
	}
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	if !first.cut && !json.Valid(first.text) && !nextIsDocument(r) {
		return prettyDocuments(lines.n-1, io.MultiReader(bytes.NewReader(first.text), bytes.NewReader([]byte("\n")), r), fs, do)
	}
	for line := first; ; {
		fs.Lines++
		switch {
		case line.cut:
			fs.unreadable(lines.n, "longer than %d MiB; write smaller requests", ingest.MaxDocumentBytes>>20)
		case len(bytes.TrimSpace(line.text)) == 0:
			fs.Empty++
		default:
			d, err := ingest.ParseDocument(line.text)
			if err != nil {
				fs.unreadable(lines.n, "%s; each line must be an OTLP request in JSON", err)
			} else if err := do(&d); err != nil {
				return err
			}
		}
		if line, err = lines.next(ingest.MaxDocumentBytes); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// nextIsDocument reports whether a document begins where r is.
func nextIsDocument(r *bufio.Reader) bool {
	head, _ := r.Peek(min(r.Size(), 4096))
	return ingest.IsDocument(head)
}

// prettyDocuments reads documents that go over lines, after the given ones.
func prettyDocuments(before int64, r io.Reader, fs *FileSummary, do func(*ingest.Document) error) error {
	data, err := io.ReadAll(io.LimitReader(r, ingest.MaxDocumentBytes+1))
	if err != nil {
		return err
	}
	if len(data) > ingest.MaxDocumentBytes {
		fs.unreadable(before+1, "the document is longer than %d MiB; write one request on each line, without line breaks inside", ingest.MaxDocumentBytes>>20)
		return nil
	}
	line := func(offset int64) int64 {
		return before + 1 + int64(bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n")))
	}
	fs.Lines += int64(bytes.Count(data, []byte("\n")))
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		start := dec.InputOffset()
		for start < int64(len(data)) && bytes.IndexByte([]byte(" \t\r\n"), data[start]) >= 0 {
			start++
		}
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			at := start
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the file ends inside of the document")
			} else if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
				at = syntax.Offset
			}
			fs.unreadable(line(at), "not valid JSON: %s; nothing from the document that begins at line %d on is stored", err, line(start))
			return nil
		}
		d, err := ingest.ParseDocument(raw)
		if err != nil {
			fs.unreadable(line(start), "%s", err)
		} else if err := do(&d); err != nil {
			return err
		}
	}
}

// A lineSource reads lines of bounded length.
type lineSource struct {
	r *bufio.Reader
	n int64 // lines read
}

// A textLine is a line without its end; its text is good until the next. cut
// says that it was too long: the rest of it is passed over.
type textLine struct {
	text []byte
	cut  bool
}

// next returns the next line, io.EOF after the last.
func (l *lineSource) next(most int) (line textLine, err error) {
	seen := false
	for {
		part, err := l.r.ReadSlice('\n')
		seen = seen || len(part) > 0
		if room := most - len(line.text); len(part) > room {
			line.cut, part = len(bytes.TrimRight(part[room:], "\r\n")) > 0 || line.cut, part[:room]
		}
		line.text = append(line.text, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (err != io.EOF || !seen) {
			if err != io.EOF {
				err = fmt.Errorf("read line %d: %w", l.n+1, err)
			}
			return textLine{}, err
		}
		l.n++
		line.text = bytes.TrimRight(line.text, "\r\n")
		return line, nil
	}
}
