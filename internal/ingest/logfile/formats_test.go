package logfile

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

func attributes(r telemetry.LogRecord) map[string]string {
	m := make(map[string]string)
	for _, f := range r.Attributes {
		m[f.Name] = f.Value
	}
	return m
}

func TestDetect(t *testing.T) {
	for text, want := range map[string]string{
		"<34>1 2018-03-03T10:00:00Z h a 1 - - x\n":        FormatSyslog,
		"<34>1 - - - - - -\n":                             FormatSyslog,
		"38 <34>1 2018-03-03T10:00:00Z h a 1 - - x":       FormatSyslog,
		"<34>Mar  3 10:00:00 h a[1]: x\n":                 FormatPlain,
		"<34>1 apples\n":                                  FormatPlain,
		"<999>1 2018-03-03T10:00:00Z h a 1 - - x\n":       FormatPlain,
		"level=info msg=x\n":                              FormatLogfmt,
		"msg=\"a b\" user=bo\n":                           FormatLogfmt,
		"user=bo path=/\n":                                FormatPlain,
		"msg=x\n":                                         FormatPlain,
		"2018-03-03 10:00:00 level=info msg=x\n":          FormatPlain,
		"time=1520071200 level=info one two three four\n": FormatPlain,
		"{\"msg\":\"x\"}\n":                               FormatJSONL,
		"":                                                FormatPlain,
	} {
		scan, err := ScanFile(strings.NewReader(text), Options{Now: testNow})
		if err != nil {
			t.Fatal(err)
		}
		if scan.Format != want {
			t.Errorf("%q is %s, want %s", text, scan.Format, want)
		}
	}
}

func TestProblems(t *testing.T) {
	for _, tt := range []struct {
		format, text string
		line         int64
		problem      string
	}{
		{FormatJSONL, "{\"msg\":1}\n{\"msg\":\n", 2, "not a JSON object"},
		{FormatLogfmt, "level=info msg=x\n\nlevel=info msg=\"x\n", 3, "unterminated"},
		{FormatLogfmt, "hello\n", 1, "begin with a key"},
		{FormatSyslog, "<34>1 2018-99-03T10:00:00Z h a 1 - - x\n", 1, "time"},
		{FormatSyslog, "<34>1 2018-03-03T10:00:00Z h a\n", 1, "ends at the program"},
		{FormatSyslog, "<34>1 2018-03-03T10:00:00Z h a 1 - x\n", 1, "no structured data"},
		{FormatSyslog, "<34>1 2018-03-03T10:00:00Z h a 1 - [x y=\"1]\n", 1, "does not end"},
		{FormatSyslog, "<34>1 2018-03-03T10:00:00Z h a 1 - [x y=\"1\"]z\n", 1, "no space"},
	} {
		rd, err := NewReader(strings.NewReader(tt.text), Options{Format: tt.format, Now: testNow})
		if err != nil {
			t.Fatal(err)
		}
		for rec, err := range rd.Records() {
			if err != nil || rec.Message == "" {
				t.Errorf("%q: record %+v, error %v", tt.text, rec, err)
			}
		}
		p := rd.Problems()
		if len(p) != 1 || rd.Stats().Unparsed != 1 || p[0].Line != tt.line || !strings.Contains(p[0].Text, tt.problem) {
			t.Errorf("%q: problems %+v, stats %+v", tt.text, p, rd.Stats())
		}
	}
	t.Run("bounded", func(t *testing.T) {
		rd, err := NewReader(strings.NewReader(strings.Repeat("x\n", 100)), Options{Format: FormatJSONL, Now: testNow})
		if err != nil {
			t.Fatal(err)
		}
		for range rd.Records() {
			continue
		}
		if len(rd.Problems()) != MaxProblems || rd.Stats().Unparsed != 100 {
			t.Errorf("%d problems, %+v", len(rd.Problems()), rd.Stats())
		}
	})
}

// RFC 3164 without and with a priority, in a file that is said to be syslog.
func TestSyslog3164(t *testing.T) {
	recs, stats := readAll(t, "<34>Mar  3 10:00:00 gate su[9]: failed\nMar  3 10:00:01 gate su: done\n more\n", Options{Format: FormatSyslog})
	if len(recs) != 2 || stats.Joined != 1 || stats.Unparsed != 0 {
		t.Fatalf("%+v, %+v", recs, stats)
	}
	want := map[string]string{"host.name": "gate", "process.name": "su", "process.pid": "9", "syslog.facility": "auth"}
	if diff := cmp.Diff(want, attributes(recs[0])); diff != "" {
		t.Error(diff)
	}
	if recs[0].Severity != telemetry.SeverityFatal || recs[0].Message != "gate su[9]: failed" {
		t.Errorf("%+v", recs[0])
	}
	if diff := cmp.Diff(map[string]string{"host.name": "gate", "process.name": "su"}, attributes(recs[1])); diff != "" {
		t.Error(diff)
	}
}

func TestRFC6587_3_4_1_OctetCounting(t *testing.T) {
	const head = "<30>1 2018-03-03T10:00:00Z h a 1 - - "
	frame := func(text string) string { return fmt.Sprintf("%d %s%s", len(head)+len(text), head, text) }
	recs, stats := readAll(t, frame("one")+frame("two\nlines")+frame(strings.Repeat("x", maxLineBytes))+"\n"+frame("four")+"\n"+head+"not counted\n"+frame("six")[:40], Options{})
	var got []string
	for _, r := range recs {
		got = append(got, r.Message[:min(len(r.Message), 12)])
	}
	if diff := cmp.Diff([]string{"one", "two\nlines", "xxxxxxxxxxxx", "four", "not counted"}, got[:5]); diff != "" {
		t.Error(diff)
	}
	if stats.Cut != 1 || len(recs) != 6 {
		t.Errorf("%q, %+v", got, stats)
	}
}

func FuzzSyslog(f *testing.F) {
	f.Add(`<165>1 2018-03-03T10:00:00.003Z h a - ID47 [x@1 iut="3" s="a\"b\]"][y] An entry`)
	f.Add("<34>Mar  3 10:00:00 gate su[9]: failed\n more")
	f.Add("40 <30>1 2018-03-03T10:00:00Z h a 1 - - a\nb7 <13>abc")
	f.Add("9999999 <1>")
	f.Add("<13>1 - - - - - - ")
	f.Fuzz(func(t *testing.T, data string) {
		if strings.HasPrefix(data, "\x1f\x8b") {
			return // compressed: what it holds cannot be compared here
		}
		recs, stats := readAll(t, data, Options{Format: FormatSyslog})
		checkRecords(t, recs, stats)
		line := strings.ToValidUTF8(data, "\uFFFD")
		m, problem := parseMessage(line, time.UTC)
		if problem != "" {
			return
		}
		if !strings.HasSuffix(line, m.text) {
			t.Fatalf("%q became %q", line, m.text)
		}
		for _, part := range []string{m.host, m.app, m.process, m.id, m.structured} {
			if !strings.Contains(line, part) {
				t.Fatalf("%q is not in %q", part, line)
			}
		}
	})
}

func FuzzLogfmt(f *testing.F) {
	f.Add("time=2018-03-03T10:00:00Z level=info msg=\"a b\" c d=\"\\u00e9\" c=1")
	f.Add("a=1 a=2 a= b")
	f.Add("=1")
	f.Add("a==\"x")
	f.Fuzz(func(t *testing.T, data string) {
		if strings.HasPrefix(data, "\x1f\x8b") {
			return // compressed: what it holds cannot be compared here
		}
		recs, stats := readAll(t, data, Options{Format: FormatLogfmt})
		checkRecords(t, recs, stats)
	})
}

// checkRecords holds for every input: nothing is lost without being counted.
func checkRecords(t *testing.T, recs []telemetry.LogRecord, stats Stats) {
	t.Helper()
	if int64(len(recs)) != stats.Records || stats.Records+stats.Joined+stats.Empty != stats.Lines {
		t.Fatalf("%d records, %+v", len(recs), stats)
	}
	for _, r := range recs {
		if r.Time.IsZero() || r.Message == "" || !utf8.ValidString(r.Message) || len(r.Message) > maxLineBytes {
			t.Fatalf("bad record %+v", r)
		}
		for _, a := range r.Attributes {
			if a.Name == "" || a.Value == "" || !utf8.ValidString(a.Value) || strings.HasPrefix(a.Name, telemetry.ResourcePrefix) {
				t.Fatalf("bad attribute %+v", a)
			}
		}
	}
}
