package logfile

import (
	"slices"
	"strings"

	"github.com/go-logfmt/logfmt"

	"github.com/orielhq/oriel/internal/telemetry"
)

// logfmtLine makes a record of one line of key=value pairs.
func (r *Reader) logfmtLine(line string) telemetry.LogRecord {
	list, _, problem := parsePairs(line)
	if problem != "" {
		r.unparsed("not logfmt (%s); write key=value pairs, values with spaces in double quotes", problem)
		st, found := r.plainStamp(line)
		return r.plainRecord(line, st, found)
	}
	return r.memberRecord(line, list.members, list.cut)
}

// looksLikeLogfmt reports whether a line has two pairs or more, one of them a
// time, a level or a message.
func looksLikeLogfmt(line string) bool {
	list, pairs, problem := parsePairs(line)
	return problem == "" && pairs >= 2 && slices.ContainsFunc(list.members, func(m member) bool {
		return slices.ContainsFunc([][]string{timeNames, levelNames, messageNames}, func(names []string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, m.name) })
		})
	})
}

// parsePairs reads a line of key=value pairs. problem is not empty where it is
// none: it must begin with a pair, and words without a value must be fewer
// than pairs. Values of one key are joined.
func parsePairs(line string) (list memberList, pairs int, problem string) {
	first, _, _ := strings.Cut(strings.TrimLeft(line, " \t"), " ")
	if at := strings.IndexByte(first, '='); at < 1 {
		return list, 0, "it does not begin with a key"
	}
	dec := logfmt.NewDecoderSize(strings.NewReader(line), len(line)+1)
	at := make(map[string]int) // the place of a key in all
	var all []member
	words := 0
	for dec.ScanRecord() {
		for dec.ScanKeyval() {
			m := member{name: string(dec.Key()), value: string(dec.Value())}
			if dec.Value() == nil && !strings.Contains(" "+line, " "+m.name+"=") {
				words++
				m.value = "true"
			} else {
				pairs++
			}
			i, ok := at[m.name]
			switch {
			case !ok:
				at[m.name] = len(all)
				all = append(all, m)
			case m.value != "":
				all[i].value = strings.TrimPrefix(all[i].value+", "+m.value, ", ")
			}
		}
	}
	if err := dec.Err(); err != nil {
		return memberList{}, 0, strings.TrimPrefix(err.Error(), "logfmt syntax error ")
	}
	if words > pairs {
		return memberList{}, 0, "more words than pairs"
	}
	for _, m := range all {
		m.name, m.value = strings.ToValidUTF8(m.name, "\uFFFD"), strings.ToValidUTF8(m.value, "\uFFFD")
		list.add(m)
	}
	return list, pairs, ""
}
