// Package importer imports files into a telemetry store: logs in the formats
// of package logfile, logs, spans and metrics as OTLP JSON, and metrics as
// OpenMetrics or Prometheus text.
//
// It reads what a stranger may have written: memory stays bounded, a line or
// document that cannot be read is counted and said, and all else is stored.
package importer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/orielhq/oriel/internal/ingest"
	"github.com/orielhq/oriel/internal/ingest/logfile"
	"github.com/orielhq/oriel/internal/telemetry"
)

// Formats of files beside those of package logfile.
const (
	FormatOTLP        = "otlp"
	FormatOpenMetrics = "openmetrics"
)

// Formats lists the values that Options.Format takes.
func Formats() []string { return append(logfile.Formats(), FormatOTLP, FormatOpenMetrics) }

const (
	defaultBatchSize = 1000
	// futureTolerance is how far ahead of now the time of a log record or
	// span may lie; engines refuse rows beyond it.
	futureTolerance = 48 * time.Hour
	// metricTolerance is the same for metrics.
	metricTolerance = 10 * time.Minute
	// sniffBytes is what is looked at to tell the format.
	sniffBytes = 64 << 10
)

const (
	signalLogs    = "logs"
	signalSpans   = "spans"
	signalMetrics = "metrics"
)

// Writers take records. Spans and Metrics are asked only where a file may hold
// them.
type Writers struct {
	Logs    telemetry.Writer
	Spans   telemetry.SpanWriter
	Metrics MetricWriter
}

// A MetricWriter stores samples of any age that the retention keeps. Errors
// are those of telemetry.Writer; rejected counts by reason what can never be
// stored.
type MetricWriter interface {
	// WriteOTLP may change md.
	WriteOTLP(ctx context.Context, tenant telemetry.TenantID, md pmetric.Metrics) (rejected map[string]int64, err error)
	// WriteSamples stores a Prometheus remote write request, version 2.0, not
	// compressed.
	WriteSamples(ctx context.Context, tenant telemetry.TenantID, request []byte) (rejected map[string]int64, err error)
}

// Options say where records go and how files are read. Open, Tenant and Now
// are required.
type Options struct {
	// Open returns the writers, once, when every file was opened and looked
	// at; logsOnly says that only Logs is needed.
	Open   func(ctx context.Context, logsOnly bool) (Writers, error)
	Tenant telemetry.TenantID
	// Retention is the age at which the store forgets; older records are
	// counted and not stored. 0 stores any age.
	Retention Retention
	// ShiftToNow moves each file's times so that its last is now.
	ShiftToNow bool
	// BatchSize is the records written at once; 0 means 1,000.
	BatchSize int
	// Progress is called now and then with the bytes of the files worked off,
	// over all passes; nil is not called. Standard input counts once it is
	// read to its end.
	Progress func(bytesDone, bytesTotal int64)

	// Now returns the time of the import.
	Now func() time.Time
	// Stdin is read for the file name "-"; nil refuses that name.
	Stdin io.Reader
	// TempDir takes copies of inputs that cannot be read twice; empty is the
	// system's.
	TempDir string
	// Format is one of Formats; empty is auto.
	Format string
	// Location is where times without a zone were written; nil is UTC.
	Location *time.Location
	// Service is the service.name of log records, by default the file's name
	// without its extensions, and the label service_name of samples that have
	// none. What OTLP says is kept.
	Service string
}

// Retention is that of each signal.
type Retention struct{ Logs, Spans, Metrics time.Duration }

// Import reads the files and writes their records in batches. All files are
// opened before anything is written. A file that cannot be read to its end, or
// of which nothing can be read, does not keep it from the others and is an
// error at the end. After an error the Summary tells what was stored.
func Import(ctx context.Context, files []string, o Options) (Summary, error) {
	if o.Open == nil || o.Tenant == 0 || o.Now == nil {
		return Summary{}, errors.New("import: Open, Tenant and Now are required")
	}
	if o.Format == "" {
		o.Format = logfile.FormatAuto
	}
	if !slices.Contains(Formats(), o.Format) {
		return Summary{}, fmt.Errorf("unknown format %q; one of %s", o.Format, strings.Join(Formats(), ", "))
	}
	if o.BatchSize <= 0 {
		o.BatchSize = defaultBatchSize
	}
	im := importer{o: o, now: o.Now()}
	defer im.close()
	logsOnly := true
	for _, name := range files {
		in, err := im.open(ctx, name)
		if err != nil {
			return Summary{}, err
		}
		if in.format, err = im.sniff(in); err != nil {
			return Summary{}, fmt.Errorf("read %s: %w", name, err)
		}
		logsOnly = logsOnly && in.format != FormatOTLP && in.format != FormatOpenMetrics
	}
	var err error
	if im.w, err = o.Open(ctx, logsOnly); err != nil {
		return Summary{}, err
	}
	im.report()
	var sum Summary
	var failed []error
	for _, in := range im.inputs {
		fs := FileSummary{Name: in.name}
		err := im.file(ctx, in, &fs)
		sum.add(fs)
		if err == nil && fs.Unreadable > 0 && sum.Files[len(sum.Files)-1].Records == 0 {
			err = fmt.Errorf("nothing in it could be read; line %d: %s", fs.Problems[0].Line, fs.Problems[0].Text)
		}
		if err == nil {
			continue
		}
		err = fmt.Errorf("import %s: %w", in.name, err)
		failed = append(failed, err)
		if _, ok := errors.AsType[*storeError](err); ok || ctx.Err() != nil {
			return sum, errors.Join(failed...)
		}
	}
	im.done = 2 * im.total // sizes may have changed meanwhile
	im.report()
	return sum, errors.Join(failed...)
}

// A storeError is one of the store, after which no other file is tried.
type storeError struct{ err error }

func (e *storeError) Error() string { return "write records: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

type input struct {
	name   string
	file   *os.File
	temp   bool
	size   int64
	format string
}

type importer struct {
	o      Options
	w      Writers
	now    time.Time
	inputs []*input
	total  int64 // bytes of all inputs
	done   int64 // half bytes worked off: a byte counts one in each of two passes
}

// open opens one input; what cannot be read twice is copied to a file first.
func (im *importer) open(ctx context.Context, name string) (*input, error) {
	in := &input{name: name}
	if name == "-" {
		if im.o.Stdin == nil {
			return nil, errors.New("standard input cannot be read here")
		}
		return in, im.spool(ctx, in, im.o.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open file: %w", err)
	}
	switch {
	case info.IsDir():
		_ = f.Close()
		return nil, fmt.Errorf("%s is a folder; name the files in it", name)
	case !info.Mode().IsRegular():
		defer f.Close()
		return in, im.spool(ctx, in, f)
	}
	in.file, in.size = f, info.Size()
	im.inputs = append(im.inputs, in)
	im.total += in.size
	return in, nil
}

func (im *importer) spool(ctx context.Context, in *input, src io.Reader) error {
	f, err := os.CreateTemp(im.o.TempDir, "oriel-import-*")
	if err != nil {
		return fmt.Errorf("copy %s: %w", in.name, err)
	}
	in.file, in.temp = f, true
	im.inputs = append(im.inputs, in)
	in.size, err = io.Copy(f, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return src.Read(p)
	}))
	if err != nil {
		return fmt.Errorf("copy %s: %w", in.name, err)
	}
	im.total += in.size
	return nil
}

func (im *importer) close() {
	for _, in := range im.inputs {
		_ = in.file.Close()
		if in.temp {
			_ = os.Remove(in.file.Name())
		}
	}
}

func (im *importer) report() {
	if im.o.Progress != nil {
		im.o.Progress(min(im.done/2, im.total), im.total)
	}
}

// sniff tells the format of a file as far as it is one of this package, else
// it is for package logfile to tell.
func (im *importer) sniff(in *input) (string, error) {
	if im.o.Format != logfile.FormatAuto {
		return im.o.Format, nil
	}
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	r, err := logfile.Decompress(io.LimitReader(in.file, in.size))
	if err != nil {
		return logfile.FormatAuto, nil // said when it is read
	}
	head, _ := io.ReadAll(io.LimitReader(r, sniffBytes))
	switch {
	case isOTLP(head):
		return FormatOTLP, nil
	case isOpenMetrics(head, in.tail()):
		return FormatOpenMetrics, nil
	}
	return logfile.FormatAuto, nil
}

// tail returns the last bytes of a file.
func (in *input) tail() []byte {
	b := make([]byte, min(in.size, 64))
	n, _ := in.file.ReadAt(b, in.size-int64(len(b)))
	return bytes.TrimRight(b[:n], " \r\n")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// pass returns in from its start, counting what is read as one of so many
// passes.
func (im *importer) pass(ctx context.Context, in *input, passes int64) (io.Reader, error) {
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// A file that grows while it is read ends where it ended at the start, so
	// that all passes see the same.
	limited := io.LimitReader(in.file, in.size)
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := limited.Read(p)
		im.done += int64(n) * 2 / passes
		im.report()
		return n, err
	}), nil
}

// text is a pass over a file's text.
func (im *importer) text(ctx context.Context, in *input, passes int64) (*bufio.Reader, error) {
	r, err := im.pass(ctx, in, passes)
	if err != nil {
		return nil, err
	}
	return logfile.Decompress(r)
}

func (im *importer) file(ctx context.Context, in *input, fs *FileSummary) error {
	switch in.format {
	case FormatOTLP:
		return im.otlp(ctx, in, fs)
	case FormatOpenMetrics:
		return im.openMetrics(ctx, in, fs)
	}
	return im.log(ctx, in, fs)
}

// log imports a file of logs.
func (im *importer) log(ctx context.Context, in *input, fs *FileSummary) error {
	const passes = 2
	o := logfile.Options{Format: in.format, Location: im.o.Location, Now: im.now, FileName: in.name, Service: im.o.Service}
	if in.name == "-" {
		o.FileName = ""
	}
	r, err := im.pass(ctx, in, passes)
	if err != nil {
		return err
	}
	scan, err := logfile.ScanFile(r, o)
	if err != nil {
		return err
	}
	o.Scan = scan
	fs.Format, fs.TimeFormat = scan.Format, scan.TimeFormat
	o.Shift = im.shift(scan.Last, fs)
	if r, err = im.pass(ctx, in, passes); err != nil {
		return err
	}
	rd, err := logfile.NewReader(r, o)
	if err != nil {
		return err
	}
	b := im.logBatch(fs)
	for rec, readErr := range rd.Records() {
		if readErr != nil {
			err = readErr
			break
		}
		if err = b.add(ctx, rec); err != nil {
			break
		}
	}
	if _, ok := errors.AsType[*storeError](err); !ok {
		err = errors.Join(err, b.flush(ctx))
	}
	s := rd.Stats()
	fs.Lines, fs.Empty, fs.Joined, fs.Cut, fs.Unparsed, fs.NoTime = s.Lines, s.Empty, s.Joined, s.Cut, s.Unparsed, s.NoTime
	fs.Problems = rd.Problems()
	return err
}

// shift returns how far a file's times are to be moved.
func (im *importer) shift(last time.Time, fs *FileSummary) time.Duration {
	if !im.o.ShiftToNow || last.IsZero() {
		return 0
	}
	by := im.now.Sub(last)
	fs.Shift = Duration(by)
	return by
}

// A batch collects records of one signal and writes them.
type batch[T any] struct {
	tally          *Tally
	oldest, newest time.Time // oldest is zero for any age
	time           func(*T) time.Time
	write          func(context.Context, []T) error
	size           int

	records []T
	times   Span
}

func (im *importer) oldest(retention time.Duration) time.Time {
	if retention == 0 {
		return time.Time{}
	}
	return im.now.Add(-retention)
}

func (im *importer) logBatch(fs *FileSummary) *batch[telemetry.LogRecord] {
	return &batch[telemetry.LogRecord]{
		tally: fs.signal(signalLogs), oldest: im.oldest(im.o.Retention.Logs), newest: im.now.Add(futureTolerance), size: im.o.BatchSize,
		time: func(r *telemetry.LogRecord) time.Time { return r.Time },
		write: func(ctx context.Context, records []telemetry.LogRecord) error {
			return im.w.Logs.WriteLogs(ctx, im.o.Tenant, records)
		},
	}
}

func (im *importer) spanBatch(fs *FileSummary) *batch[telemetry.SpanRecord] {
	return &batch[telemetry.SpanRecord]{
		tally: fs.signal(signalSpans), oldest: im.oldest(im.o.Retention.Spans), newest: im.now.Add(futureTolerance), size: im.o.BatchSize,
		time: func(r *telemetry.SpanRecord) time.Time { return r.End },
		write: func(ctx context.Context, records []telemetry.SpanRecord) error {
			return im.w.Spans.WriteSpans(ctx, im.o.Tenant, records)
		},
	}
}

func (b *batch[T]) add(ctx context.Context, rec T) error {
	b.tally.Records++
	switch t := b.time(&rec); {
	case t.Before(b.oldest):
		b.tally.TooOld++
		b.tally.TooOldTimes.add(t)
		return nil
	case t.After(b.newest):
		b.tally.TooNew++
		b.tally.TooNewTimes.add(t)
		return nil
	default:
		b.times.add(t)
	}
	if b.records = append(b.records, rec); len(b.records) < b.size {
		return nil
	}
	return b.flush(ctx)
}

func (b *batch[T]) flush(ctx context.Context) error {
	if len(b.records) == 0 {
		return nil
	}
	err := b.write(ctx, b.records)
	stored := int64(len(b.records))
	if r, ok := errors.AsType[*telemetry.RejectedError](err); ok {
		for _, rec := range r.Records {
			b.tally.reject(rec.Reason, 1)
			stored--
		}
	} else if err != nil {
		return &storeError{err}
	}
	b.tally.Stored += stored
	if stored > 0 {
		b.tally.Times.merge(b.times)
	}
	// A new slice: a Writer may still hold the old one.
	b.records, b.times = nil, Span{}
	return nil
}

// samples counts what a writer of metrics said of n data points, which may
// have been several samples each.
func (t *Tally) samples(n int64, rejected map[string]int64, times Span) {
	for _, reason := range sortedReasons(rejected) {
		k := min(n, rejected[reason])
		n -= k
		t.refuse(reason, k)
	}
	t.Stored += n
	if n > 0 {
		t.Times.merge(times)
	}
}

// refuse counts records by the reason that a writer or converter gave.
func (t *Tally) refuse(reason string, n int64) {
	switch reason {
	case ingest.ReasonTooOld:
		t.TooOld += n
	case ingest.ReasonTooNew:
		t.TooNew += n
	default:
		t.reject(reason, n)
	}
}

func sortedReasons(rejected map[string]int64) []string {
	reasons := make([]string, 0, len(rejected))
	for r := range rejected {
		reasons = append(reasons, r)
	}
	slices.Sort(reasons)
	return reasons
}
