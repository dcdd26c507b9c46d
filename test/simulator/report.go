package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

func replace(path, name, text string) error {
	whole, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- simulator "+name+": written by make simulate -->\n", "<!-- end of simulator "+name+" -->\n"
	before, rest, ok := strings.Cut(string(whole), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+text+end+after), 0o644)
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f µs", float64(d.Nanoseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1e3)
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

func (t times) String() string {
	return short(t.quantile(0.5)) + " (" + short(t.quantile(0.99)) + ")"
}

func report(o options, p place, all []figures, busy string) string {
	var b strings.Builder
	row := func(what string, cell func(figures) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, f := range all {
			fmt.Fprintf(&b, " %s |", cell(f))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "| %s: %d people, %d teams; grants |", p.name(), o.people, o.teams)
	for _, f := range all {
		fmt.Fprintf(&b, " %d |", f.grants)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(all)) + "\n")
	row("loading these grants, after those before", func(f figures) string { return short(f.load) })
	row("database on disk", func(f figures) string { return fmt.Sprintf("%d MiB", f.size>>20) })
	row("opening store, keys and gate", func(f figures) string { return short(f.open) })
	if all[0].ready > 0 {
		row("the program, from its start until ready, engines included", func(f figures) string { return short(f.ready) })
		row("its memory then; after the requests below", func(f figures) string { return fmt.Sprintf("%d MiB; %d MiB", f.resident>>20, f.residentAfter>>20) })
		row("a refresh over HTTP, one after the other: median (p99)", func(f figures) string { return f.servedRefresh.String() })
		row("the first MCP request with that token", func(f figures) string { return f.servedCall.String() })
	}
	row("a check of a known token (hot path)", func(f figures) string { return f.hot.String() })
	row("the first check on a grant", func(f figures) string { return f.cold.String() })
	row("a refresh, one after the other", func(f figures) string { return f.refresh.String() })
	row("a person's own connections", func(f figures) string { return f.ownList.String() })
	row("sweeping grants, once an hour", func(f figures) string { return short(f.sweep) })
	f := all[len(all)-1]
	fmt.Fprintf(&b, "\n| at %d grants | figure |\n|---|---|\n", f.grants)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | "+format+" |\n", append([]any{what}, args...)...)
	}
	line("heap for each connection in use (token, standing, open stream)", "%.1f KiB (%d in use)", float64(f.perConnection)/1024, f.inUse)
	line("the full hour: all their streams have ended after", "%s", short(f.hourEnd))
	line(fmt.Sprintf("all of them have refreshed, %d at once, after", workers), "%s (%.0f a second)", short(f.hourBack), float64(f.inUse)/f.hourBack.Seconds())
	line("ending one grant, until committed: median (p99)", "%s", f.revoke)
	line(fmt.Sprintf("from then until all replicas (%d) refuse", p.replicas()), "%s", f.spread)
	line(fmt.Sprintf("ending an integration of %d grants", f.small), "%s", short(f.smallTook))
	line(fmt.Sprintf("ending one of %d grants; until all replicas refuse those looked at", f.large), "%s; %s", short(f.largeTook), short(f.largeRefused))
	line("a refresh by somebody else meanwhile", "%s, at most %s", f.waited, short(f.waited.quantile(1)))
	fmt.Fprintf(&b, "\nLoad of the machine before: %s.\n", busy)
	return b.String()
}
