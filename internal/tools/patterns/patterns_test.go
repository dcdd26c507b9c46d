package patterns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mine returns the patterns of messages, with counts.
func mine(messages ...string) []string {
	m := NewMiner()
	for _, text := range messages {
		m.Add(text, 1)
	}
	groups, _ := m.Groups()
	var out []string
	for _, g := range groups {
		out = append(out, fmt.Sprintf("%d %s", g.Count, g.Pattern))
	}
	return out
}

func TestPatterns(t *testing.T) {
	tests := []struct {
		name     string
		messages []string
		want     []string
	}{
		{"nothing", nil, nil},
		{"empty", []string{"", " "}, []string{"2 "}},
		{"one message is its own pattern", []string{"took 12 ms"}, []string{"1 took 12 ms"}},
		{"numbers keep their unit", []string{"took 12 ms", "took 9.5 ms"}, []string{"2 took <*> ms"}},
		{"units that differ", []string{"took 12 ms", "took 2 s", "took 1.5 min"}, []string{"3 took <*>"}},
		{"less than", []string{"lifetime <1 sec", "lifetime 00:12"}, []string{"2 lifetime <*>"}},
		{"names of values", []string{"block blk_17 at 10.0.0.7:50010 lost", "block blk_-9 at 10.0.0.12:50010 lost"}, []string{"2 block blk_<*> at <*> lost"}},
		{"what is the same stays", []string{"http2 stream 3 on 10.0.0.1", "http2 stream 4 on 10.0.0.1"}, []string{"2 http2 stream <*> on 10.0.0.1"}},
		{"dates", []string{"at Fri Jun 17 07:07:00 2005 by cron", "at Sat Jul  9 22:53:19 2005 by cron"}, []string{"2 at <*> by cron"}},
		{"months are words elsewhere", []string{"May I come in", "May I come in"}, []string{"2 May I come in"}},
		{"lists", []string{"drop 10.0.0.1,10.0.0.2 now", "drop 10.0.0.3 now", "drop 10.0.0.4 10.0.0.5 10.0.0.6 now"}, []string{"3 drop <*> now"}},
		{"what is left out", []string{"from 10.0.0.1 (a.example.com) port=", "from 10.0.0.2 () port=22"}, []string{"2 from <*> (<*>) port=<*>"}},
		{"empty and none", []string{"error=null x", "error=x7 x"}, []string{"2 error=<*> x"}},
		{"quoted values", []string{`tag="View Lock" n=1`, `tag="RILJ" n=2`}, []string{`2 tag=<*> n=<*>`}},
		{"quoted texts", []string{`"GET /a HTTP/1.1" 200`, `"GET /b?x=1&y=2 HTTP/1.1" 404`, `"POST /b HTTP/1.1" 404`}, []string{`2 "GET /<*>" <*>`, `1 "POST /b HTTP/1.1" 404`}},
		{"paths and addresses", []string{"open /etc/passwd failed", "open /var/log failed", "open https://x.example/y failed"}, []string{"3 open <*> failed"}},
		{"few words are statements", []string{"session opened for ann", "session closed for bob", "session opened for bob", "session closed for ann"}, []string{"1 session closed for ann", "1 session closed for bob", "1 session opened for ann", "1 session opened for bob"}},
		{
			"many words are values",
			words("hello %s, welcome", "ann", "bob", "cyd", "dan", "eve", "fay"),
			[]string{"6 hello <*>, welcome"},
		},
		{
			"a name after user is a value",
			append(words("session opened for user %s", "ann", "ann", "bob", "bob"), words("session closed for user %s", "ann", "ann", "bob", "bob")...),
			[]string{"4 session closed for user <*>", "4 session opened for user <*>"},
		},
		{
			"names that come once",
			words("cannot load module %s today", "alpha", "beta", "gamma"),
			[]string{"3 cannot load module <*> today"},
		},
		{
			"first words tell statements apart",
			words("%s startup succeeded", "syslogd", "klogd", "portmap", "cupsd", "hcid", "sdpd"),
			[]string{"1 cupsd startup succeeded", "1 hcid startup succeeded", "1 klogd startup succeeded", "1 portmap startup succeeded", "1 sdpd startup succeeded", "1 syslogd startup succeeded"},
		},
		{
			"rare words around frequent ones",
			[]string{
				"user ann logged in from york", "user bob logged in from leeds", "user cyd logged in from ayr", "user dan logged in from bath",
				"user eve logged in from wells", "user fay logged in from ely",
			},
			[]string{"6 user <*> logged in from <*>"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, mine(tt.messages...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func words(format string, list ...string) []string {
	var out []string
	for _, w := range list {
		out = append(out, fmt.Sprintf(format, w))
	}
	return out
}

// A statement writes messages of one kind.
type statement func(r *rand.Rand) string

var people = []string{"ann", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jon"}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

// statements are of a made-up system; each has its own words.
var statements = []statement{
	func(r *rand.Rand) string {
		return fmt.Sprintf("accepted connection from 10.0.%d.%d:%d", r.IntN(9), r.IntN(99), r.IntN(60000))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("closed connection from 10.0.%d.%d:%d after %d ms", r.IntN(9), r.IntN(99), r.IntN(60000), r.IntN(9000))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("user %s signed in with %s", pick(r, people...), pick(r, "password", "passkey"))
	},
	func(r *rand.Rand) string { return fmt.Sprintf("user %s signed out", pick(r, people...)) },
	func(r *rand.Rand) string {
		return fmt.Sprintf("order %d: payment of %d.%02d EUR accepted", r.IntN(1e6), r.IntN(900), r.IntN(100))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("order %d: payment refused, code=%d", r.IntN(1e6), r.IntN(40))
	},
	func(r *rand.Rand) string { return fmt.Sprintf("cache miss for key session:%08x", r.Uint32()) },
	func(r *rand.Rand) string {
		return fmt.Sprintf("compacted table %s in %d.%d s, %d rows", pick(r, "orders", "carts", "people", "stock", "prices", "events"), r.IntN(9), r.IntN(10), r.IntN(1e7))
	},
	func(*rand.Rand) string { return "leader election started" },
	func(r *rand.Rand) string { return fmt.Sprintf("leader is now node-%d", r.IntN(5)) },
	func(r *rand.Rand) string {
		return fmt.Sprintf("retrying request %016x in %d seconds", r.Uint64(), r.IntN(60))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("cannot open /data/%s/%d.db: permission denied", pick(r, people...), r.IntN(100))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("cannot open /data/%s/%d.db: no such file or directory", pick(r, people...), r.IntN(100))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("GET /orders/%d %d in %d ms", r.IntN(1e5), 200+r.IntN(4)*100, r.IntN(500))
	},
	func(r *rand.Rand) string {
		return fmt.Sprintf("disk sd%c is %d%% full", 'a'+rune(r.IntN(9)), r.IntN(100))
	},
}

// wrong is which of the statements cannot be told apart from, or hold together
// by, the words alone: two ways to sign in are two patterns.
const wrongStatements = 1

func TestGroupsAreTheStatements(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := NewMiner()
	const n = 5000
	var of, shapes []int
	for range n {
		s := r.IntN(len(statements))
		of, shapes = append(of, s), append(shapes, m.Add(statements[s](r), 1))
	}
	groups, ofShape := m.Groups()
	together := make(map[[2]int]int)
	for i, s := range of {
		together[[2]int{s, ofShape[shapes[i]]}]++
	}
	if len(groups) > len(statements)+wrongStatements || len(together) != len(groups) {
		t.Errorf("%d statements became %d groups, %d pairs", len(statements), len(groups), len(together))
		for _, g := range groups {
			t.Logf("%d %s", g.Count, g.Pattern)
		}
	}
	sum := int64(0)
	for _, g := range groups {
		sum += g.Count
	}
	if sum != n {
		t.Errorf("%d messages of %d are in groups", sum, n)
	}
}

func TestCountsAndShapes(t *testing.T) {
	m := NewMiner()
	a, b, c := m.Add("took 1 ms", 5), m.Add("took 2 ms", 7), m.Add("other", 1)
	groups, ofShape := m.Groups()
	if a != b || a == c || len(groups) != 2 || groups[ofShape[a]].Count != 12 || groups[ofShape[c]].Pattern != "other" {
		t.Errorf("%d %d %d, %+v, %v", a, b, c, groups, ofShape)
	}
}

func TestOverflow(t *testing.T) {
	m := NewMiner()
	letters := func(i int) string {
		return strings.Map(func(r rune) rune { return r - '0' + 'g' }, fmt.Sprint(i))
	}
	for i := range maxShapes {
		if m.Add(letters(i), 1) < 0 {
			t.Fatalf("no room for shape %d", i)
		}
	}
	if m.Add("one more", 3) != -1 || m.Overflow != 3 || m.Add(letters(7), 1) < 0 {
		t.Errorf("overflow %d", m.Overflow)
	}
}

// holds says whether a message is one of the pattern's: the pattern's own text
// occurs in it, in this order.
func holds(pattern, message string) bool {
	message = strings.Join(strings.Fields(message), "")
	for i, part := range strings.Split(pattern, Wildcard) {
		part = strings.Join(strings.Fields(part), "")
		at := strings.Index(message, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		message = message[at+len(part):]
	}
	return true
}

// FuzzMiner holds that every message is counted once, in a group whose pattern
// holds for it.
func FuzzMiner(f *testing.F) {
	f.Add("took 12 ms\ntook 9 s\n(a) =b\n() =")
	f.Add("a=\"x y\" b\na=\"z\" b\n\xff\xfe <1 <2\n1,2,x\n/a=b,c /d")
	f.Add("at Fri Jun 17 07:07:00 2005\nFri Jun x\nMon 1 Tue 2\n1 Jan Feb 2")
	f.Add(strings.Repeat("x ", 300) + "\n" + strings.Repeat("7", 3000) + "\n" + strings.Repeat("y ", 250) + "1")
	f.Fuzz(func(t *testing.T, text string) {
		messages := strings.Split(text, "\n")
		m := NewMiner()
		shapes := make([]int, len(messages))
		for i, message := range messages {
			shapes[i] = m.Add(message, 1)
		}
		groups, ofShape := m.Groups()
		counts := make([]int64, len(groups))
		for i, message := range messages {
			g := ofShape[shapes[i]]
			counts[g]++
			if !holds(groups[g].Pattern, message) {
				t.Errorf("%q is in the group %q", message, groups[g].Pattern)
			}
		}
		for i, g := range groups {
			if g.Count != counts[i] || g.Count == 0 {
				t.Errorf("%q counts %d messages of %d", g.Pattern, g.Count, counts[i])
			}
		}
		if !slices.IsSortedFunc(groups, func(a, b Group) int { return int(b.Count - a.Count) }) {
			t.Error("the groups are not in order")
		}
	})
}

// BenchmarkMine reads and groups messages of a made-up system on one core.
func BenchmarkMine(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	messages := make([]string, 100_000)
	for i := range messages {
		messages[i] = statements[r.IntN(len(statements))](r)
	}
	b.ReportAllocs()
	for b.Loop() {
		m := NewMiner()
		for _, text := range messages {
			m.Add(text, 1)
		}
		m.Groups()
	}
	b.ReportMetric(float64(len(messages)*b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkMineDifferent is the worst case: no two messages are alike.
func BenchmarkMineDifferent(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	messages := make([]string, 20_000)
	for i := range messages {
		var words []string
		for range 5 + r.IntN(20) {
			words = append(words, pick(r, people...)+pick(r, people...)+pick(r, people...))
		}
		messages[i] = strings.Join(words, " ")
	}
	for b.Loop() {
		m := NewMiner()
		for _, text := range messages {
			m.Add(text, 1)
		}
		m.Groups()
	}
	b.ReportMetric(float64(len(messages)*b.N)/b.Elapsed().Seconds(), "messages/s")
}
