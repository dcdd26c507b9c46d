// Command patterns measures how well and how fast internal/tools/patterns
// groups log messages of which the right groups are known: all *_structured.csv
// files of a folder, in the format of Loghub (columns Content and EventId).
//
// It prints the grouping accuracy per file and the mean: the share of messages
// whose group holds exactly the messages that it should (Zhu et al., "Tools and
// Benchmarks for Automated Log Parsing", 2019). With -v it prints the groups
// that are wrong.
package main

import (
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/orielhq/oriel/internal/tools/patterns"
)

func main() {
	verbose := flag.Bool("v", false, "print the groups that are wrong")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: patterns [-v] FOLDER")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *verbose); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string, verbose bool) error {
	files, err := filepath.Glob(filepath.Join(folder, "*_structured.csv"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no *_structured.csv", folder)
	}
	sum := 0.0
	for _, file := range files {
		messages, events, err := read(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		began := time.Now()
		m := patterns.NewMiner()
		shapes := make([]int, len(messages))
		for i, text := range messages {
			shapes[i] = m.Add(text, 1)
		}
		groups, ofShape := m.Groups()
		took := time.Since(began)
		got := make([]int, len(messages))
		for i, s := range shapes {
			got[i] = ofShape[s]
		}
		ga := accuracy(events, got)
		sum += ga
		fmt.Printf("%-40s %.4f  %d groups of %d, %.0f messages/s\n", filepath.Base(file), ga, len(groups), count(events), float64(len(messages))/took.Seconds())
		if verbose {
			wrong(events, got, groups, messages)
		}
	}
	fmt.Printf("%-40s %.4f\n", "mean", sum/float64(len(files)))
	return nil
}

func read(file string) (messages, events []string, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, nil, fmt.Errorf("read: %w", err)
	}
	content, event := slices.Index(rows[0], "Content"), slices.Index(rows[0], "EventId")
	if content < 0 || event < 0 {
		return nil, nil, fmt.Errorf("no columns Content and EventId in %s", strings.Join(rows[0], ","))
	}
	for _, row := range rows[1:] {
		messages, events = append(messages, row[content]), append(events, row[event])
	}
	return messages, events, nil
}

func count(events []string) int {
	seen := make(map[string]bool)
	for _, e := range events {
		seen[e] = true
	}
	return len(seen)
}

// accuracy is the share of messages whose group is exactly their event's.
func accuracy(events []string, got []int) float64 {
	sizeOfEvent, sizeOfGroup, sizeOfBoth := sizes(events, got)
	right := 0
	for i := range events {
		if n := sizeOfBoth[key{events[i], got[i]}]; n == sizeOfEvent[events[i]] && n == sizeOfGroup[got[i]] {
			right++
		}
	}
	return float64(right) / float64(len(events))
}

type key struct {
	event string
	group int
}

func sizes(events []string, got []int) (event map[string]int, group map[int]int, both map[key]int) {
	event, group, both = make(map[string]int), make(map[int]int), make(map[key]int)
	for i := range events {
		event[events[i]]++
		group[got[i]]++
		both[key{events[i], got[i]}]++
	}
	return event, group, both
}

func wrong(events []string, got []int, groups []patterns.Group, messages []string) {
	ofEvent, ofGroup, both := sizes(events, got)
	seen := make(map[key]bool)
	for i := range events {
		k := key{events[i], got[i]}
		if n := both[k]; seen[k] || n == ofEvent[k.event] && n == ofGroup[k.group] {
			continue
		}
		seen[k] = true
		fmt.Printf("    %s has %d, the group %d, both %d: %.100s\n        %.150s\n", k.event, ofEvent[k.event], ofGroup[k.group], both[k], groups[k.group].Pattern, messages[i])
	}
}
