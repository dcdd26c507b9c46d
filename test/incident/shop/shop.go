// Package shop makes the telemetry of a small shop of 12 services with faults
// and distractors in it, and says which: what happened, where, when, and the
// facts that tell it. Everything follows from a seed and a time.
//
// Two teams run the same shop side by side, and the first in two environments
// with several owners, so that what a team or a data scope may not see lies
// between what it may.
package shop

import (
	"iter"
	"math/rand/v2"
	"time"
)

// Config is what a set follows from. Zero fields mean the defaults.
type Config struct {
	Seed uint64
	// End is when the set ends; it is cut to the minute. It is required.
	End time.Time
	// Requests a minute of customers to the first team's production. The
	// second team gets a quarter of it, staging a tenth.
	Requests int
	// Chatter is how many log records without a trace are written a minute
	// besides: health checks, caches, pools.
	Chatter int
	// Alone leaves the second team out.
	Alone bool
	// Minutes is how long the set lasts; the faults are where they are, and
	// a set of other than DefaultMinutes repeats or lacks some.
	Minutes int
}

// Defaults of Config.
const (
	DefaultRequests = 60
	DefaultMinutes  = 180
)

// The teams of a set.
const (
	Team      = "shop"
	OtherTeam = "outlet"
)

// Environments of Team; OtherTeam has production alone.
const (
	Production = "prod"
	Staging    = "staging"
)

// Regions of production.
const (
	Europe  = "eu-west-1"
	America = "us-east-1"
)

// A Resource is one running instance of a service.
type Resource struct {
	Team, Service, Version, Environment, Region, Host, Pod, Owner string
}

// An Attr is an attribute; its value is a string, int64, float64 or bool.
type Attr struct {
	Name  string
	Value any
}

// A Log is one log record.
type Log struct {
	Resource   *Resource
	Time       time.Time
	Severity   string // INFO, WARN, …
	Body       string
	Attributes []Attr
	// TraceID and SpanID are hexadecimal, or empty.
	TraceID, SpanID string
}

// Kinds of spans.
const (
	KindInternal = "internal"
	KindServer   = "server"
	KindClient   = "client"
	KindProducer = "producer"
	KindConsumer = "consumer"
)

// A Span is one span.
type Span struct {
	Resource                  *Resource
	TraceID, SpanID, ParentID string
	Name, Kind                string
	Start, End                time.Time
	Attributes                []Attr
	// Error is the status; Problem its message.
	Error   bool
	Problem string
}

// Duration is how long the span lasted.
func (s *Span) Duration() time.Duration { return s.End.Sub(s.Start) }

// A Point is one value of a metric.
type Point struct {
	Resource   *Resource
	Metric     string
	Unit, Help string
	Attributes []Attr
	// Start is set for cumulative sums and histograms.
	Start, Time time.Time
	Value       float64
	// Buckets counts durations up to each of Bounds, and above the last; nil
	// for a number.
	Buckets []uint64
	Count   uint64
}

// Bounds of the histograms, in seconds.
func Bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}
}

// A Minute is what happened in one minute. Slices are those of the whole
// minute in no particular order; what a skewed clock wrote lies earlier.
type Minute struct {
	Index  int
	Start  time.Time
	Logs   []Log
	Spans  []Span
	Points []Point
}

// A Set is the telemetry of a shop.
type Set struct {
	Config
	Start time.Time
	Truth Truth
}

// New returns the set that follows from c.
func New(c Config) *Set {
	if c.Requests == 0 {
		c.Requests = DefaultRequests
	}
	if c.Minutes == 0 {
		c.Minutes = DefaultMinutes
	}
	c.End = c.End.UTC().Truncate(time.Minute)
	s := &Set{Config: c, Start: c.End.Add(-time.Duration(c.Minutes) * time.Minute)}
	s.Truth = s.truth()
	return s
}

// All returns the minutes in order. Each call starts anew and returns the same.
func (s *Set) All() iter.Seq[*Minute] {
	return func(yield func(*Minute) bool) {
		p := newPlant(s)
		for i := range s.Minutes {
			if !yield(p.minute(i)) {
				return
			}
		}
	}
}

// at returns the set's time at a minute from its start.
func (s *Set) at(minute int) time.Time { return s.Start.Add(time.Duration(minute) * time.Minute) }

// random returns a generator of its own for every minute, so that what happens
// in one does not depend on how much happened before.
func (s *Set) random(minute int) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, uint64(minute)+1))
}
