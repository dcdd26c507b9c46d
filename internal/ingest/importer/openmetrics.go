package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/orielhq/oriel/internal/telemetry"
)

const (
	// maxSampleBytes bounds a line of metrics.
	maxSampleBytes = 1 << 20
	// maxFamilies bounds the metric families whose type and help are kept.
	maxFamilies = 20_000
	// serviceLabel is the label that --service sets.
	serviceLabel = "service_name"
)

// isOpenMetrics reports whether a file looks like OpenMetrics or Prometheus
// text: one of its first lines describes a metric, or it ends as OpenMetrics do.
func isOpenMetrics(head, tail []byte) bool {
	if bytes.HasSuffix(tail, []byte("\n# EOF")) || bytes.Equal(tail, []byte("# EOF")) {
		return true
	}
	const lines = 200
	n := 0
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		if n++; n > lines {
			break
		}
		f := bytes.Fields(line)
		if len(f) >= 3 && string(f[0]) == "#" && (string(f[1]) == "TYPE" || string(f[1]) == "HELP" || string(f[1]) == "UNIT") ||
			len(f) == 2 && string(f[0]) == "#" && string(f[1]) == "EOF" {
			return true
		}
	}
	return false
}

// A dialect is one of the two forms of the text: OpenMetrics counts time in
// seconds and has exemplars, Prometheus counts milliseconds.
type dialect struct {
	open bool
	last time.Time // of all samples
	eof  bool      // the file ends with # EOF
}

// dialect reads a file once to tell which one it is.
func (im *importer) dialect(r *lineSource) (d dialect, err error) {
	var last, largest float64
	seconds := false // a sign of OpenMetrics
	for {
		line, err := r.next(maxSampleBytes)
		if err == io.EOF {
			break
		}
		if err != nil {
			return d, err
		}
		text := string(line.text)
		if strings.HasPrefix(text, "#") {
			d.eof = d.eof || strings.TrimSpace(text) == "# EOF"
			seconds = seconds || strings.HasPrefix(text, "# UNIT ")
			continue
		}
		stamp, exemplar := sampleTime(text)
		seconds = seconds || exemplar || strings.Contains(stamp, ".")
		if t, err := strconv.ParseFloat(stamp, 64); err == nil && !math.IsNaN(t) && !math.IsInf(t, 0) {
			last, largest = max(last, t), max(largest, math.Abs(t))
		}
	}
	// Milliseconds since 1970 have had 12 digits or more since 1973.
	const secondsBelow = 1e11
	d.open = d.eof || seconds || largest > 0 && largest < secondsBelow
	if !d.open {
		last /= 1000
	}
	if last > 0 && last < math.MaxInt64/1e9 {
		d.last = time.UnixMilli(int64(last * 1000)).UTC()
	}
	return d, nil
}

// sampleTime returns the time of a sample as it is written, "" for none, and
// whether an exemplar follows.
func sampleTime(line string) (stamp string, exemplar bool) {
	rest, quoted, end := line, false, -1
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '}':
			if !quoted && end < 0 {
				end = i
			}
		}
		if end >= 0 {
			break
		}
	}
	if end >= 0 && strings.IndexByte(line, '{') < end && !strings.Contains(line[:max(0, strings.IndexByte(line, '{'))], " # ") {
		rest = line[end+1:]
	} else if _, after, ok := strings.Cut(line, " "); ok {
		rest = after
	}
	rest, _, exemplar = strings.Cut(rest, " # ")
	if f := strings.Fields(rest); len(f) >= 2 {
		stamp = f[1]
	}
	return stamp, exemplar
}

// openMetrics imports a file of metrics as text.
func (im *importer) openMetrics(ctx context.Context, in *input, fs *FileSummary) error {
	const passes = 2
	fs.Format = FormatOpenMetrics
	r, err := im.text(ctx, in, passes)
	if err != nil {
		return err
	}
	d, err := im.dialect(&lineSource{r: r})
	if err != nil {
		return err
	}
	switch {
	case d.last.IsZero():
		fs.TimeFormat = "none"
	case d.open:
		fs.TimeFormat = "seconds (OpenMetrics)"
	default:
		fs.TimeFormat = "milliseconds (Prometheus)"
	}
	shift := im.shift(d.last, fs)
	if r, err = im.text(ctx, in, passes); err != nil {
		return err
	}
	p := sampleParser{open: d.open, families: make(map[string]*family)}
	w := sampleWriter{im: im, tally: fs.signal(signalMetrics)}
	w.reset()
	lines := lineSource{r: r}
	for {
		line, err := lines.next(maxSampleBytes)
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.Join(err, w.flush(ctx))
		}
		fs.Lines++
		text := strings.TrimLeft(string(line.text), " \t")
		switch {
		case line.cut:
			fs.unreadable(lines.n, "longer than %d MiB", maxSampleBytes>>20)
			continue
		case text == "":
			fs.Empty++
			continue
		}
		s, err := p.parse(text)
		if err != nil {
			right := `name{label="value"} value time`
			if strings.HasPrefix(text, "#") {
				right = "# TYPE name counter, # HELP name text, # UNIT name unit"
			}
			fs.unreadable(lines.n, "%s; write %s", err, right)
			continue
		}
		if s == nil {
			continue
		}
		if s.timed {
			s.time = s.time.Add(shift)
		} else {
			fs.NoTime++
			s.time = im.now
		}
		if s.exemplar != nil && s.exemplar.HasTs {
			s.exemplar.Ts += shift.Milliseconds()
		}
		if err := w.add(ctx, s); err != nil {
			return err
		}
	}
	if d.open && !d.eof {
		fs.problem(lines.n, "the file does not end with # EOF: it may have been cut off")
	}
	return w.flush(ctx)
}

// A family is what comments say about a metric.
type family struct {
	kind       string
	help, unit string
}

// A sample is one line.
type sample struct {
	labels   labels.Labels
	value    float64
	time     time.Time
	timed    bool
	exemplar *exemplar.Exemplar
	name     string // of its family
	family   *family
}

// A sampleParser reads a file line by line, so that one line that is wrong
// costs no other.
type sampleParser struct {
	open     bool
	families map[string]*family
}

// parse reads one line; nil is a comment. Errors are for people.
func (p *sampleParser) parse(line string) (*sample, error) {
	if !utf8.ValidString(line) || strings.ContainsRune(line, 0) {
		return nil, errors.New("not text in UTF-8")
	}
	comment := strings.HasPrefix(line, "#")
	if comment && !describes(line) {
		return nil, nil
	}
	text, name, f := line, "", (*family)(nil)
	if !comment {
		name, f = p.familyOf(line)
		if f != nil && (f.kind == "histogram" || f.kind == "summary" || f.kind == "gaugehistogram") {
			// The parser writes the numbers in le and quantile alike then.
			text = "# TYPE " + name + " " + f.kind + "\n" + line
		}
	}
	var parser textparse.Parser
	if p.open {
		parser = textparse.NewOpenMetricsParser([]byte(text+"\n# EOF\n"), labels.NewSymbolTable())
	} else {
		parser = textparse.NewPromParser([]byte(text+"\n"), labels.NewSymbolTable(), false)
	}
	var out *sample
	for {
		entry, err := parser.Next()
		switch {
		case err == io.EOF && !comment && out == nil:
			return nil, errors.New("no sample")
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, cutError(err)
		}
		switch entry {
		case textparse.EntryType:
			if comment {
				name, kind := parser.Type()
				p.family(string(name), func(f *family) { f.kind = string(kind) })
			}
		case textparse.EntryHelp:
			name, help := parser.Help()
			p.family(string(name), func(f *family) { f.help = string(help) })
		case textparse.EntryUnit:
			name, unit := parser.Unit()
			p.family(string(name), func(f *family) { f.unit = string(unit) })
		case textparse.EntrySeries:
			if out != nil {
				return nil, errors.New("more than one sample")
			}
			out = &sample{name: name, family: f}
			_, at, value := parser.Series()
			out.value = value
			if at != nil {
				out.time, out.timed = time.UnixMilli(*at).UTC(), true
			}
			parser.Labels(&out.labels)
			var e exemplar.Exemplar
			if parser.Exemplar(&e) {
				out.exemplar = &e
			}
		}
	}
}

// cutError shortens what the parser says, which quotes the line.
func cutError(err error) error {
	const most = 200
	text := err.Error()
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return errors.New(text)
}

func describes(line string) bool {
	f := strings.Fields(line)
	return len(f) >= 2 && f[0] == "#" && (f[1] == "TYPE" || f[1] == "HELP" || f[1] == "UNIT")
}

func (p *sampleParser) family(name string, set func(*family)) {
	f := p.families[name]
	if f == nil {
		if len(p.families) == maxFamilies {
			return
		}
		f = new(family)
		p.families[name] = f
	}
	set(f)
}

// familyOf finds what comments said about the metric of a line.
func (p *sampleParser) familyOf(line string) (string, *family) {
	name := line
	if end := strings.IndexAny(line, "{ \t"); end >= 0 {
		name = line[:end]
	}
	if f := p.families[name]; f != nil {
		return name, f
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum", "_total", "_created", "_info", "_gcount", "_gsum"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && p.families[base] != nil {
			return base, p.families[base]
		}
	}
	return "", nil
}

// A sampleWriter collects samples into remote write requests.
type sampleWriter struct {
	im    *importer
	tally *Tally

	request writev2.Request
	symbols writev2.SymbolsTable
	series  map[string]int // places in request, by labels
	n       int64
	times   Span
	key     []byte
}

// maxSamples is how many samples are written at once.
const maxSamples = 5000

func (w *sampleWriter) reset() {
	w.request, w.symbols, w.series = writev2.Request{}, writev2.NewSymbolTable(), make(map[string]int)
	w.n, w.times = 0, Span{}
}

func (w *sampleWriter) add(ctx context.Context, s *sample) error {
	t, o := w.tally, &w.im.o
	t.Records++
	switch {
	case s.time.Before(w.im.oldest(o.Retention.Metrics)):
		t.TooOld++
		t.TooOldTimes.add(s.time)
		return nil
	case s.time.After(w.im.now.Add(metricTolerance)):
		t.TooNew++
		t.TooNewTimes.add(s.time)
		return nil
	}
	if o.Service != "" && s.labels.Get(serviceLabel) == "" {
		b := labels.NewBuilder(s.labels)
		b.Set(serviceLabel, o.Service)
		s.labels = b.Labels()
	}
	w.times.add(s.time)
	w.key = s.labels.Bytes(w.key[:0])
	at, ok := w.series[string(w.key)]
	if !ok {
		at = len(w.request.Timeseries)
		w.series[string(w.key)] = at
		ts := writev2.TimeSeries{LabelsRefs: w.symbols.SymbolizeLabels(s.labels, nil)}
		if f := s.family; f != nil {
			ts.Metadata = writev2.Metadata{
				Type: writev2.FromMetadataType(model.MetricType(f.kind)), HelpRef: w.symbols.Symbolize(f.help), UnitRef: w.symbols.Symbolize(f.unit),
			}
		}
		w.request.Timeseries = append(w.request.Timeseries, ts)
	}
	ts := &w.request.Timeseries[at]
	ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: s.time.UnixMilli(), Value: s.value})
	if e := s.exemplar; e != nil {
		stamp := s.time.UnixMilli()
		if e.HasTs {
			stamp = e.Ts
		}
		ts.Exemplars = append(ts.Exemplars, writev2.Exemplar{LabelsRefs: w.symbols.SymbolizeLabels(e.Labels, nil), Value: e.Value, Timestamp: stamp})
	}
	if w.n++; w.n < maxSamples {
		return nil
	}
	return w.flush(ctx)
}

func (w *sampleWriter) flush(ctx context.Context) error {
	if w.n == 0 {
		return nil
	}
	w.request.Symbols = w.symbols.Symbols()
	data, err := w.request.Marshal()
	if err != nil {
		return fmt.Errorf("encode samples: %w", err)
	}
	rejected, err := w.im.w.Metrics.WriteSamples(ctx, w.im.o.Tenant, data)
	if errors.Is(err, telemetry.ErrRefused) {
		rejected, err = map[string]int64{"refused_by_the_store": w.n}, nil
	}
	if err != nil {
		return &storeError{err}
	}
	w.tally.samples(w.n, rejected, w.times)
	w.reset()
	return nil
}
