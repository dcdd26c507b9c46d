package logfile

import "time"

// scanTimes collects the times of a first pass.
type scanTimes struct {
	first, last time.Time // of times with a year

	noYear      bool
	firstNoYear meta
	lastNoYear  meta
	leapTurn    int
	hasLeap     bool
}

func (s *scanTimes) any() bool { return !s.last.IsZero() || s.noYear }

func (s *scanTimes) add(m meta) {
	if !m.noYear {
		if s.first.IsZero() || m.time.Before(s.first) {
			s.first = m.time
		}
		if s.last.IsZero() || m.time.After(s.last) {
			s.last = m.time
		}
		return
	}
	if m.time.Month() == time.February && m.time.Day() == 29 {
		s.leapTurn, s.hasLeap = m.turn, true
	}
	if !s.noYear || m.turn < s.firstNoYear.turn || m.turn == s.firstNoYear.turn && m.time.Before(s.firstNoYear.time) {
		s.firstNoYear = m
	}
	if !s.noYear || m.turn > s.lastNoYear.turn || m.turn == s.lastNoYear.turn && m.time.After(s.lastNoYear.time) {
		s.lastNoYear = m
	}
	s.noYear = true
}

// settle returns the earliest and latest time and the year of turn 0.
func (s *scanTimes) settle(now time.Time) (first, last time.Time, baseYear int) {
	first, last = s.first, s.last
	if !s.noYear {
		return first, last, now.Year()
	}
	leapTurn := noTurn
	if s.hasLeap {
		leapTurn = s.leapTurn
	}
	baseYear = firstYear(s.lastNoYear.time, s.lastNoYear.turn, leapTurn, now)
	a := withYear(s.firstNoYear.time, baseYear+s.firstNoYear.turn)
	b := withYear(s.lastNoYear.time, baseYear+s.lastNoYear.turn)
	if first.IsZero() || a.Before(first) {
		first = a
	}
	if last.IsZero() || b.After(last) {
		last = b
	}
	return first, last, baseYear
}
