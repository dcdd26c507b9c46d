package logfile

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/telemetry"
)

var update = flag.Bool("update", false, "rewrite golden files")

var testNow = time.Date(2018, 6, 1, 12, 0, 0, 0, time.UTC)

func readAll(t testing.TB, text string, o Options) ([]telemetry.LogRecord, Stats) {
	t.Helper()
	if o.Now.IsZero() {
		o.Now = testNow
	}
	scan, err := ScanFile(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Scan = scan
	rd, err := NewReader(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	var out []telemetry.LogRecord
	for rec, err := range rd.Records() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	if diff := cmp.Diff(scan.Stats, rd.Stats()); diff != "" {
		t.Errorf("the two passes counted differently: %s", diff)
	}
	return out, rd.Stats()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Each file of testdata is one format; its records are kept beside it.
func TestFormats(t *testing.T) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "testdata/mixed.jsonl")
	if len(files) < 12 {
		t.Fatalf("found only %v", files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			recs, stats := readAll(t, string(text), Options{FileName: file})
			scan, err := ScanFile(bytes.NewReader(text), Options{FileName: file, Now: testNow})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			counts, err := json.Marshal(stats)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s, %s, %s\n", scan.Format, scan.TimeFormat, counts)
			for _, r := range recs {
				fmt.Fprintf(&b, "%s %-5s %q", r.Time.UTC().Format(time.RFC3339Nano), r.Severity, r.Message)
				for _, f := range r.Resource {
					fmt.Fprintf(&b, " {%s=%s}", f.Name, f.Value)
				}
				for _, f := range r.Attributes {
					fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
				}
				if r.TraceID != "" {
					fmt.Fprintf(&b, " trace %s span %s", r.TraceID, r.SpanID)
				}
				b.WriteByte('\n')
			}
			golden(t, filepath.Base(file)+".golden", b.Bytes())
		})
	}
}

func TestFindStamp(t *testing.T) {
	berlin := time.FixedZone("", 3600)
	for _, tt := range []struct {
		line string
		want string // RFC 3339 in UTC, "" for none
		rest string
	}{
		{"2018-03-03T10:00:00Z x", "2018-03-03T10:00:00Z", " x"},
		{"2018-03-03T10:00:00.123456789+02:00 x", "2018-03-03T08:00:00.123456789Z", " x"},
		{"2018-03-03 10:00:00 +0200 x", "2018-03-03T08:00:00Z", " x"},
		{"2018-03-03 10:00:00 -10 widgets", "2018-03-03T09:00:00Z", " -10 widgets"},
		{"2018-03-03 10:00:00,5 - x", "2018-03-03T09:00:00.5Z", " - x"},
		{"2018-03-03 10:00:00 UTC x", "2018-03-03T10:00:00Z", " x"},
		{"[2018-03-03 10:00:00] x", "2018-03-03T09:00:00Z", " x"},
		{"INFO 2018-03-03 10:00:00 x", "2018-03-03T09:00:00Z", " x"},
		{"2018-02-30 10:00:00 x", "", ""},
		{"0001-01-01 00:00:00 x", "", ""},
		{"9999-01-01 00:00:00 x", "", ""},
		{"2018-03-03 25:00:00 x", "", ""},
		{"2018-03-03 10:00:001 x", "", ""},
		{"2016-12-31T23:59:60Z x", "2017-01-01T00:00:00Z", " x"},
		{"Sat Mar  3 10:00:00 2018 x", "2018-03-03T09:00:00Z", " x"},
		{"Mar 03 10:00:00 host p: x", "2000-03-03T09:00:00Z", " host p: x"},
		{"Mar 3 10:00:00.250 host p: x", "2000-03-03T09:00:00.25Z", " host p: x"},
		{"Mars 3 10:00:00 x", "", ""},
		{"x y z [03/Mar/2018:10:00:00 -0700] x", "2018-03-03T17:00:00Z", " x"},
		{"180303 100000 17 INFO x", "2018-03-03T09:00:00Z", " 17 INFO x"},
		{"181303 100000 17 INFO x", "", ""},
		{"I0303 10:00:00.5 7 x", "2000-03-03T09:00:00.5Z", " 7 x"},
		{"1520071200 x", "2018-03-03T10:00:00Z", " x"},
		{"1520071200.5 x", "2018-03-03T10:00:00.5Z", " x"},
		{"1520071200500 x", "2018-03-03T10:00:00.5Z", " x"},
		{"152007120x x", "", ""},
		{"123456789012345 a number", "", ""},
		{"", "", ""},
		{"<34>", "", ""},
		{"[", "", ""},
	} {
		st, ok := findStamp(tt.line, shapeNone, berlin)
		got, rest := "", ""
		if ok {
			got, rest = st.time.UTC().Format(time.RFC3339Nano), tt.line[st.end:]
		}
		if got != tt.want || rest != tt.rest {
			t.Errorf("findStamp(%q) = %q, rest %q; want %q, rest %q", tt.line, got, rest, tt.want, tt.rest)
		}
	}
}

func TestNewYear(t *testing.T) {
	times := func(text string, now time.Time) []string {
		recs, _ := readAll(t, text, Options{Now: now})
		var out []string
		for _, r := range recs {
			out = append(out, r.Time.Format("2006-01-02"))
		}
		return out
	}
	const turn = "Dec 30 10:00:00 h p: a\nDec 31 23:59:59 h p: b\nJan  1 00:00:00 h p: c\nDec 31 23:59:58 h p: late\nJan  2 10:00:00 h p: d\n"
	for _, tt := range []struct {
		name, text, now string
		want            []string
	}{
		{"over New Year", turn, "2019-01-05", []string{"2018-12-30", "2018-12-31", "2019-01-01", "2018-12-31", "2019-01-02"}},
		{"last not in the future", turn, "2019-01-01", []string{"2017-12-30", "2017-12-31", "2018-01-01", "2017-12-31", "2018-01-02"}},
		{"this year", "Mar  1 10:00:00 h p: a\n", "2019-03-02", []string{"2019-03-01"}},
		{"last year", "Mar  3 10:00:00 h p: a\n", "2019-03-02", []string{"2018-03-03"}},
		{"two turns", "Nov  1 10:00:00 h p: a\nMay  1 10:00:00 h p: b\nFeb  1 10:00:00 h p: c\n", "2019-03-02", []string{"2017-11-01", "2018-05-01", "2019-02-01"}},
		{"leap day", "Feb 28 10:00:00 h p: a\nFeb 29 10:00:00 h p: b\nMar  1 10:00:00 h p: c\n", "2019-06-02", []string{"2016-02-28", "2016-02-29", "2016-03-01"}},
		{"klog", "I1231 10:00:00.0 1 a\nI0101 10:00:00.0 1 b\n", "2019-06-02", []string{"2018-12-31", "2019-01-01"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now, err := time.Parse(time.DateOnly, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, times(tt.text, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("beyond the head", func(t *testing.T) {
		var b strings.Builder
		for range 2 * headLines {
			b.WriteString("Dec 31 10:00:00 h p: a\n")
		}
		b.WriteString("Jan  1 10:00:00 h p: b\n")
		got := times(b.String(), time.Date(2019, 6, 1, 0, 0, 0, 0, time.UTC))
		if got[0] != "2018-12-31" || got[len(got)-1] != "2019-01-01" {
			t.Errorf("first %s, last %s", got[0], got[len(got)-1])
		}
	})
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLineBytes+500)
	for _, tt := range []struct {
		name, text string
		want       []string
		stats      Stats
	}{
		{"empty file", "", nil, Stats{}},
		{"byte order mark, CRLF, no final newline", "\xef\xbb\xbfone\r\ntwo", []string{"one", "two"}, Stats{Lines: 2, Records: 2, NoTime: 2}},
		{"invalid UTF-8", "a\xffb\n", []string{"a\uFFFDb"}, Stats{Lines: 1, Records: 1, NoTime: 1}},
		{"empty lines", "a\n\n \r\nb\n\n", []string{"a", "b"}, Stats{Lines: 5, Records: 2, Empty: 3, NoTime: 2}},
		{
			"long line", long + "\nnext\n",
			[]string{long[:maxLineBytes-maxCutNote] + fmt.Sprintf(" … [cut: %d bytes more]", 501+maxCutNote), "next"},
			Stats{Lines: 2, Records: 2, NoTime: 2, Cut: 1},
		},
		{
			"continuation", "2018-03-03 10:00:00 a\n  at b\nc\n2018-03-03 10:00:01 d\n",
			[]string{"a\n  at b\nc", "d"},
			Stats{Lines: 4, Records: 2, Joined: 2},
		},
		{
			"before the first time", "# header\n2018-03-03 10:00:00 a\n",
			[]string{"# header", "a"},
			Stats{Lines: 2, Records: 2, NoTime: 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			recs, stats := readAll(t, tt.text, Options{})
			var got []string
			for _, r := range recs {
				got = append(got, r.Message)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.stats, stats); diff != "" {
				t.Error(diff)
			}
			for _, r := range recs {
				if r.Time.IsZero() {
					t.Errorf("zero time: %+v", r)
				}
			}
		})
	}
}

func TestJoinIsBounded(t *testing.T) {
	text := "2018-03-03 10:00:00 a\n" + strings.Repeat("\tat b\n", 2*maxJoinedLines+10)
	recs, stats := readAll(t, text, Options{})
	if len(recs) != 3 || stats.Joined+stats.Records != stats.Lines {
		t.Errorf("%d records, %+v", len(recs), stats)
	}
	for _, r := range recs {
		if !r.Time.Equal(recs[0].Time) {
			t.Errorf("time %s", r.Time)
		}
	}
}

func TestGzip(t *testing.T) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	fmt.Fprint(zw, "2018-03-03 10:00:00 a\n2018-03-03 10:00:01 b\n")
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	recs, _ := readAll(t, b.String(), Options{FileName: "shop.log.1.gz"})
	if len(recs) != 2 || recs[0].Resource[0].Value != "shop" {
		t.Errorf("records %+v", recs)
	}
	if _, err := ScanFile(bytes.NewReader(b.Bytes()[:b.Len()-6]), Options{Now: testNow}); err == nil {
		t.Error("a truncated gzip file reads without an error")
	}
}

func TestLevelOf(t *testing.T) {
	for text, want := range map[string]string{
		"INFO x":                               "INFO",
		"148 INFO dfs.Node: x":                 "INFO",
		"[error] x":                            "ERROR",
		"[core:warn] [pid 1] x":                "WARN",
		"level=debug msg=x":                    "DEBUG",
		`msg=x level="warning"`:                "WARN",
		"Warning: no config":                   "WARN",
		"error: Received disconnect":           "ERROR",
		"PANIC: x":                             "FATAL",
		"authentication error for anna":        "",
		"fine weather":                         "",
		"a b c d e f g ERROR":                  "",
		"main error: this one is near":         "ERROR",
		"notice that this is no level":         "",
		"":                                     "",
		"=":                                    "",
		"[] () <>":                             "",
		strings.Repeat("x", 2*levelBytes):      "",
		"level=gibberish ERROR":                "ERROR",
		"thread-1 [main] WARN org.example - x": "WARN",
	} {
		if got := levelOf(text); got != want {
			t.Errorf("levelOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestServiceOf(t *testing.T) {
	for name, want := range map[string]string{
		"/var/log/shop.log": "shop", "shop.log.2.gz": "shop", "OpenSSH_2k.log": "OpenSSH_2k",
		"a.b.jsonl": "a.b", "": "import", "-": "import", ".log": ".log", "syslog": "syslog",
	} {
		if got := ServiceOf(name); got != want {
			t.Errorf("ServiceOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestJSONBounds(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500)
	var wide strings.Builder
	wide.WriteString(`{"k":0`)
	for i := range 3000 {
		fmt.Fprintf(&wide, `,"k%d":%d`, i, i)
	}
	wide.WriteString("}")
	longName := `{"` + strings.Repeat("n", 400) + `":1}`
	recs, stats := readAll(t, deep+"\n"+wide.String()+"\n"+longName+"\n", Options{Format: FormatJSONL})
	if len(recs) != 3 || stats.Unparsed != 0 || stats.Cut == 0 {
		t.Fatalf("%d records, %+v", len(recs), stats)
	}
	for _, r := range recs {
		if len(r.Attributes) == 0 || len(r.Attributes) > maxMembers {
			t.Errorf("%d attributes", len(r.Attributes))
		}
		for _, f := range r.Attributes {
			if len(f.Name) > 128 {
				t.Errorf("name of %d bytes", len(f.Name))
			}
		}
	}
}

func FuzzReader(f *testing.F) {
	files, err := filepath.Glob("testdata/*.log")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/mixed.jsonl") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Add([]byte("\xef\xbb\xbf\x00\xff\r\r\n2018-03-03 10:00:00\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, plain bool) {
		if len(data) > 1 && data[0] == 0x1f && data[1] == 0x8b {
			return // compressed: what it holds cannot be compared here
		}
		o := Options{Now: testNow}
		if plain {
			o.Format = FormatPlain
		}
		recs, stats := readAll(t, string(data), o)
		if int64(len(recs)) != stats.Records || stats.Records+stats.Joined+stats.Empty != stats.Lines {
			t.Fatalf("%d records, %+v", len(recs), stats)
		}
		var messages strings.Builder
		for _, r := range recs {
			if r.Time.IsZero() || r.Message == "" || !utf8.ValidString(r.Message) {
				t.Fatalf("bad record %+v", r)
			}
			for _, a := range r.Attributes {
				if a.Name == "" || a.Value == "" || strings.HasPrefix(a.Name, telemetry.ResourcePrefix) {
					t.Fatalf("bad attribute %+v", a)
				}
			}
			messages.WriteString(r.Message)
			messages.WriteByte('\n')
		}
		if !plain {
			return
		}
		// Every line is found again in the messages, in order; only a
		// time-stamp and what stands before it may be missing at its start.
		rest := messages.String()
		for line := range strings.SplitSeq(strings.TrimPrefix(string(data), "\xef\xbb\xbf"), "\n") {
			line = strings.ToValidUTF8(strings.TrimRight(line, "\r"), "\uFFFD")
			if strings.TrimSpace(line) == "" {
				continue
			}
			got, after, _ := strings.Cut(rest, "\n")
			rest = after
			if !strings.HasSuffix(line, got) || got == "" {
				t.Fatalf("line %q became %q", line, got)
			}
			if lost := strings.TrimSuffix(line, got); lost != "" {
				if st, ok := findStamp(line, shapeNone, time.UTC); !ok || len(lost) > maxStampStart+60 || st.end > len(lost) {
					t.Fatalf("line %q lost %q", line, lost)
				}
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	line := "Mar  3 10:00:00 gate sshd[411]: Failed password for invalid user anna from 192.0.2.7 port 4022 ssh2\n"
	text := strings.Repeat(line, 10_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		rd, err := NewReader(strings.NewReader(text), Options{Now: testNow})
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range rd.Records() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
