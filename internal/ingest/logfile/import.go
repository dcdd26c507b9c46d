package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	defaultBatchSize = 1000
	// futureTolerance is how far ahead of now a record's time may lie;
	// engines refuse rows beyond it.
	futureTolerance = 48 * time.Hour
)

// ImportOptions say where records go and how files are read. Writer, Tenant and
// Now are required.
type ImportOptions struct {
	Writer telemetry.Writer
	Tenant telemetry.TenantID
	// Retention is the age at which the store forgets; older records are
	// counted and not stored. 0 stores any age.
	Retention time.Duration
	// ShiftToNow moves each file's times so that its last is now.
	ShiftToNow bool
	// BatchSize is the records written at once; 0 means 1,000.
	BatchSize int
	// Progress is called now and then with the bytes of the files worked off,
	// over both passes; nil is not called. Standard input counts once it is
	// read to its end.
	Progress func(bytesDone, bytesTotal int64)

	// Now returns the time of the import.
	Now func() time.Time
	// Stdin is read for the file name "-"; nil refuses that name.
	Stdin io.Reader
	// TempDir takes copies of inputs that cannot be read twice; empty is the
	// system's.
	TempDir string
	// Format, Location and Service are as in Options.
	Format   string
	Location *time.Location
	Service  string
}

// Import reads the files and writes their records in batches. All files are
// opened before anything is written. After an error the Summary tells what was
// stored before it.
func Import(ctx context.Context, files []string, o ImportOptions) (Summary, error) {
	if o.Writer == nil || o.Tenant == 0 || o.Now == nil {
		return Summary{}, errors.New("logfile: Writer, Tenant and Now are required")
	}
	if o.BatchSize <= 0 {
		o.BatchSize = defaultBatchSize
	}
	im := importer{o: o, now: o.Now()}
	defer im.close()
	for _, name := range files {
		if err := im.open(ctx, name); err != nil {
			return Summary{}, err
		}
	}
	im.report()
	var sum Summary
	for _, in := range im.inputs {
		fs, err := im.file(ctx, in)
		sum.add(fs)
		if err != nil {
			return sum, fmt.Errorf("import %s: %w", in.name, err)
		}
	}
	im.done = 2 * im.total // sizes may have changed meanwhile
	im.report()
	return sum, nil
}

type input struct {
	name string
	file *os.File
	temp bool
	size int64
}

type importer struct {
	o      ImportOptions
	now    time.Time
	inputs []*input
	total  int64 // bytes of all inputs
	done   int64 // bytes read, in both passes
}

// open opens one input; what cannot be read twice is copied to a file first.
func (im *importer) open(ctx context.Context, name string) error {
	in := &input{name: name}
	if name == "-" {
		if im.o.Stdin == nil {
			return errors.New("standard input cannot be read here")
		}
		return im.spool(ctx, in, im.o.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open log file: %w", err)
	}
	switch {
	case info.IsDir():
		_ = f.Close()
		return fmt.Errorf("%s is a folder; name the files in it", name)
	case !info.Mode().IsRegular():
		defer f.Close()
		return im.spool(ctx, in, f)
	}
	in.file, in.size = f, info.Size()
	im.inputs = append(im.inputs, in)
	im.total += in.size
	return nil
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

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// pass returns in from its start, counting what is read.
func (im *importer) pass(ctx context.Context, in *input) (io.Reader, error) {
	if _, err := in.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	// A file that grows while it is read ends where it ended at the start, so
	// that both passes see the same.
	limited := io.LimitReader(in.file, in.size)
	return readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := limited.Read(p)
		im.done += int64(n)
		im.report()
		return n, err
	}), nil
}

func (im *importer) file(ctx context.Context, in *input) (FileSummary, error) {
	fs := FileSummary{Name: in.name}
	o := Options{Format: im.o.Format, Location: im.o.Location, Now: im.now, FileName: in.name, Service: im.o.Service}
	if in.name == "-" {
		o.FileName = ""
	}
	r, err := im.pass(ctx, in)
	if err != nil {
		return fs, err
	}
	scan, err := ScanFile(r, o)
	if err != nil {
		return fs, err
	}
	o.Scan = scan
	fs.Format, fs.TimeFormat = scan.Format, scan.TimeFormat
	if im.o.ShiftToNow && !scan.Last.IsZero() {
		o.Shift = im.now.Sub(scan.Last)
		fs.Shift = Duration(o.Shift)
	}
	if r, err = im.pass(ctx, in); err != nil {
		return fs, err
	}
	rd, err := NewReader(r, o)
	if err != nil {
		return fs, err
	}
	err = im.records(ctx, rd, &fs)
	fs.Stats = rd.Stats()
	return fs, err
}

func (im *importer) records(ctx context.Context, rd *Reader, fs *FileSummary) error {
	oldest, newest := im.now.Add(-im.o.Retention), im.now.Add(futureTolerance)
	batch := make([]telemetry.LogRecord, 0, im.o.BatchSize)
	var stored Span // of the batch
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if err := im.o.Writer.WriteLogs(ctx, im.o.Tenant, batch); err != nil {
			return fmt.Errorf("write records: %w", err)
		}
		fs.Stored += int64(len(batch))
		fs.Times.merge(stored)
		// A new slice: a Writer may still hold the old one.
		batch, stored = make([]telemetry.LogRecord, 0, im.o.BatchSize), Span{}
		return nil
	}
	for rec, err := range rd.Records() {
		if err != nil {
			return err
		}
		switch {
		case im.o.Retention > 0 && rec.Time.Before(oldest):
			fs.TooOld++
			fs.TooOldTimes.add(rec.Time)
			continue
		case rec.Time.After(newest):
			fs.TooNew++
			fs.TooNewTimes.add(rec.Time)
			continue
		}
		stored.add(rec.Time)
		if batch = append(batch, rec); len(batch) == im.o.BatchSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
