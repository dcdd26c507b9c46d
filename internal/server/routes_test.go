package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/org"
	"github.com/orielhq/oriel/internal/testkit"
	"github.com/orielhq/oriel/internal/web"
)

// visitors are all kinds of people at a route about the team shop, in the
// order of the columns of testdata/routes.txt.
var visitors = []struct {
	name  string
	team  string // in which they hold the role
	role  string
	owner bool
	out   bool // not signed in
}{
	{name: "nobody", out: true},
	{name: "teamless"},
	{name: "viewer", team: "shop", role: "viewer"},
	{name: "analyst", team: "shop", role: "analyst"},
	{name: "operator", team: "shop", role: "operator"},
	{name: "admin", team: "shop", role: "admin"},
	{name: "elsewhere", team: "bank", role: "admin"},
	{name: "owner", owner: true},
}

// routeTable reads testdata/routes.txt: a line for each route, with the status
// that each visitor gets.
func routeTable(t *testing.T) map[string][]int {
	t.Helper()
	b, err := os.ReadFile("testdata/routes.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string][]int)
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		pattern := strings.Join(fields[:max(0, len(fields)-len(visitors))], " ")
		if pattern == "" || table[pattern] != nil {
			t.Fatalf("a line without a route, or the second one of it: %q", line)
		}
		for _, f := range fields[len(fields)-len(visitors):] {
			status, err := strconv.Atoi(f)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			table[pattern] = append(table[pattern], status)
		}
	}
	return table
}

// TestEveryRouteByEveryVisitor asks each route of the server as everybody. A
// route that is not in the table fails.
func TestEveryRouteByEveryVisitor(t *testing.T) {
	s := testkit.Start(t)
	s.WaitReady()
	s.AddTeam("shop")
	s.AddTeam("bank")
	browsers := make([]*testkit.Browser, len(visitors))
	signIn := func(i int) {
		browsers[i] = s.Browser()
		if !visitors[i].out {
			browsers[i].SignIn("/login", visitors[i].name+"@example.com")
		}
	}
	for i, v := range visitors {
		if !v.out {
			s.AddPerson(v.name+"@example.com", v.owner)
		}
		if v.team != "" {
			s.SetMember(v.team, v.name+"@example.com", v.role)
		}
		signIn(i)
	}
	table := routeTable(t)
	for _, route := range inOrder(s.Routes()) {
		want, ok := table[route.Pattern]
		delete(table, route.Pattern)
		got := make([]int, len(visitors))
		for i := range visitors {
			method, path := target(s, route.Pattern, i)
			res := ask(browsers[i], method, path)
			got[i] = res.Status
			wantAudience(t, route, i, res)
		}
		if !ok {
			t.Errorf("the table has no line for this route; if these statuses are right, it is\n%s", tableLine(route.Pattern, got))
		} else if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", tableLine(route.Pattern, got), tableLine(route.Pattern, want))
		}
	}
	for pattern := range table {
		t.Errorf("the table has a line for %s, which is no route", pattern)
	}
}

// inOrder puts the routes that end sessions last.
func inOrder(routes []web.Route) []web.Route {
	ends := func(r web.Route) int {
		if strings.Contains(r.Pattern, "logout") {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(routes), func(a, b web.Route) int { return ends(a) - ends(b) })
}

// target returns a request for a route: about the team shop, with a person, a
// group and a role that are there for this visitor alone.
func target(s *testkit.Server, pattern string, visitor int) (method, path string) {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = http.MethodGet, pattern
	}
	if path == "/" {
		return method, "/no/such/page" // the route of what no other one answers
	}
	ctx, by := s.TB.Context(), audit.System()
	name := fmt.Sprintf("target-%d-%d", visitor, len(s.Routes()))
	if strings.Contains(path, "{person}") {
		email := name + "@example.com"
		p, err := s.Admin.Directory.PersonByEmail(ctx, email)
		if err != nil {
			p, err = s.Admin.Directory.AddPerson(ctx, org.NewPerson{Email: email, Name: name}, by)
		}
		s.Must(err)
		s.SetMember("shop", email, "viewer")
		path = strings.ReplaceAll(path, "{person}", string(p.ID))
	}
	if strings.Contains(path, "{group}") {
		g, err := s.Admin.Directory.FindGroup(ctx, name)
		if err != nil {
			g, err = s.Admin.Directory.AddGroup(ctx, name, "", by)
		}
		s.Must(err)
		path = strings.ReplaceAll(path, "{group}", string(g.ID))
	}
	if strings.Contains(path, "{role}") {
		text := org.RoleText{Name: name, Permissions: []org.Permission{org.LogsRead}}
		if strings.Contains(path, "{slug}") {
			text.Name, text.Team = name+"-shop", "shop"
		}
		_, err := s.Admin.Directory.SaveRole(ctx, text, by)
		s.Must(err)
		path = strings.ReplaceAll(path, "{role}", text.Name)
	}
	path = strings.NewReplacer("{slug}", "shop", "{$}", "").Replace(path)
	return method, placeholder.ReplaceAllString(path, "unknown")
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// forms are what is posted where an empty form would not get as far as the
// question who may do it.
var forms = map[string]url.Values{
	"/policies":           {"team": {"shop"}, "mfa": {"optional"}},
	"/policies/reconnect": {"team": {"shop"}},
}

func ask(b *testkit.Browser, method, path string) testkit.Response {
	if method == http.MethodPost {
		return b.Post(path, forms[path])
	}
	return b.Get(path)
}

// wantAudience holds what a route says of itself against an answer, whatever
// the table says.
func wantAudience(t *testing.T, route web.Route, visitor int, res testkit.Response) {
	t.Helper()
	v := visitors[visitor]
	var in bool
	switch route.Who {
	case web.Anyone:
		return
	case web.SignedIn:
		in = !v.out
	case web.Owner:
		in = v.owner
	case web.Member:
		in = v.owner || v.team == "shop"
	case web.TeamAdmin:
		in = v.owner || v.team == "shop" && v.role == "admin"
	default:
		t.Errorf("%s does not say whom it is for", route.Pattern)
		return
	}
	switch {
	case v.out:
		// Steps of an authorization say by themselves that they are over.
		if loc := res.Header.Get("Location"); res.Status != http.StatusBadRequest && !strings.HasPrefix(loc, "/login") {
			t.Errorf("%s: %s gets %d to %q, not the sign-in", route.Pattern, v.name, res.Status, loc)
		}
	case !in && res.Status != http.StatusForbidden && res.Status != http.StatusNotFound:
		t.Errorf("%s: %s gets %d", route.Pattern, v.name, res.Status)
	// Of whom a form decides by what it names, the table says who.
	case in && res.Status == http.StatusForbidden && !strings.Contains(route.Pattern, "{person}") && forms[strings.TrimPrefix(route.Pattern, "POST ")] == nil:
		t.Errorf("%s: %s is refused", route.Pattern, v.name)
	}
	if res.Status >= http.StatusInternalServerError {
		t.Errorf("%s: %s gets %d\n%s", route.Pattern, v.name, res.Status, res.Body)
	}
}

func tableLine(pattern string, statuses []int) string {
	line := fmt.Sprintf("%-72s", pattern)
	for _, s := range statuses {
		line += fmt.Sprintf(" %d", s)
	}
	return line
}
