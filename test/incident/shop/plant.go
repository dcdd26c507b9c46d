package shop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// A plant makes minutes in their order and keeps what lasts between them.
type plant struct {
	set       *Set
	instances instances
	// histograms are the cumulative durations of requests.
	histograms map[histogramKey]*Point
	order      []histogramKey
	generation int
	// waiting is how many mails of Team wait in production.
	waiting int
}

type histogramKey struct {
	resource *Resource
	route    string
	status   int
}

func newPlant(s *Set) *plant {
	return &plant{set: s, instances: make(instances), histograms: make(map[histogramKey]*Point)}
}

// A scene is one minute in the making.
type scene struct {
	*plant
	*Minute
	rng *rand.Rand
}

func (p *plant) minute(i int) *Minute {
	m := &Minute{Index: i, Start: p.set.at(i)}
	s := &scene{plant: p, Minute: m, rng: p.set.random(i)}
	for _, at := range s.set.sites() {
		for range s.many(at) {
			s.customer(at)
		}
	}
	s.faults()
	s.distractors()
	s.routine()
	s.chatter()
	s.metrics()
	return m
}

// many is how many requests come to a site in this minute.
func (s *scene) many(at site) int {
	n := float64(s.set.Requests)
	switch {
	case at.team == OtherTeam:
		n /= 4
	case at.environment == Staging:
		n /= 10
	case at.region == Europe:
		n *= 0.6
	default:
		n *= 0.4
	}
	return int(n*(0.9+0.2*s.rng.Float64()) + s.rng.Float64())
}

// some is a time in this minute.
func (s *scene) some() time.Time {
	return s.Start.Add(time.Duration(s.rng.Int64N(int64(time.Minute))))
}

// around is a duration near a number of milliseconds (log-normal).
func (s *scene) around(milliseconds float64) time.Duration {
	return time.Duration(milliseconds * math.Exp(0.35*s.rng.NormFloat64()) * float64(time.Millisecond))
}

func (s *scene) of(service string, at site) *Resource {
	return s.instances.get(indexOf(service), at, s.Index)
}

// stamped is the time that a host's clock shows.
func stamped(r *Resource, t time.Time) time.Time {
	if r.Host == skewedHost {
		return t.Add(skew)
	}
	return t
}

// say writes a log record without a trace.
func (s *scene) say(r *Resource, t time.Time, severity, body string, attrs ...Attr) {
	s.Logs = append(s.Logs, Log{Resource: r, Time: stamped(r, t), Severity: severity, Body: body, Attributes: attrs})
}

func (s *scene) sayf(r *Resource, severity, format string, args ...any) {
	s.say(r, s.some(), severity, fmt.Sprintf(format, args...))
}

// faults writes what faults do beside the requests that they touch.
func (s *scene) faults() {
	at := site{Team, Production, Europe}
	if between(s.Index, floodFrom, floodUntil) {
		for range s.set.Requests * floodFactor {
			s.flood(at)
		}
	}
	for _, at := range sites[:2] {
		if _, kills := leaked(s.Index); kills > 0 && (s.Index-leakFrom)%leakEvery == 0 {
			s.say(s.of("search", at), s.Start.Add(4*time.Second), "WARN",
				fmt.Sprintf("search started after OOMKilled (exit code 137), restart %d", kills), Attr{"k8s.container.restart_count", int64(kills)})
		}
		if s.Index == consumerFrom {
			for i := range 3 {
				s.generation++
				s.say(s.of("notifications", at), s.Start.Add(time.Duration(2+i*7)*time.Second), "INFO",
					fmt.Sprintf("consumer group mail-senders rebalancing, generation %d, waiting for assignment", 40+s.generation), Attr{"messaging.destination.name", mailQueue})
			}
		}
	}
	if s.Index%10 == 5 {
		s.sayf(s.of("inventory", at), "WARN", "clock unsynchronised: offset %.1f s to time.internal, not adjusting", skew.Seconds()+s.rng.Float64()-0.5)
	}
}

// distractors writes what looks like a cause and is none.
func (s *scene) distractors() {
	for _, at := range sites[:2] {
		for range 2 {
			s.say(s.of("auth", at), s.some(), "ERROR", fmt.Sprintf("directory referral to ldap://dc%d.corp.example not followed: LDAP result code 10", 1+s.rng.IntN(3)),
				Attr{"error.type", "referral"})
		}
	}
	if s.Index == crawlerAt {
		for range crawlerHits {
			s.crawl(site{Team, Production, America})
		}
	}
}

// routine writes what happens by the clock: starts and jobs.
func (s *scene) routine() {
	for _, at := range s.set.sites() {
		for i, svc := range services {
			r := s.instances.get(i, at, s.Index)
			if before := versionAt(svc, at, s.Index-1); before != r.Version {
				s.say(r, s.Start.Add(2*time.Second), "INFO", fmt.Sprintf("%s %s started in %d ms, replacing %s", svc.name, r.Version, 400+s.rng.IntN(900), before))
			}
		}
		if s.Index%15 == 3 {
			s.sayf(s.of("catalog", at), "INFO", "price index rebuilt: %d products in %d ms", 18_000+s.rng.IntN(400), 900+s.rng.IntN(300))
			s.sayf(s.of("inventory", at), "INFO", "stock of warehouse %d reconciled, %d differences", 1+s.rng.IntN(4), s.rng.IntN(6))
		}
	}
}

// chatter writes records that say little, as most do.
func (s *scene) chatter() {
	for range s.set.Chatter {
		at := sites[s.rng.IntN(len(s.set.sites()))]
		r := s.instances.get(s.rng.IntN(len(services)), at, s.Index)
		switch s.rng.IntN(5) {
		case 0:
			s.sayf(r, "DEBUG", "health check ok in %d ms", 1+s.rng.IntN(9))
		case 1:
			s.say(r, s.some(), "INFO", fmt.Sprintf("cache hit ratio %.2f over %d lookups", 0.85+0.14*s.rng.Float64(), 500+s.rng.IntN(4000)), Attr{"cache.name", "local"})
		case 2:
			s.say(r, s.some(), "INFO", fmt.Sprintf("pool: %d of 20 connections in use, %d waiting", s.rng.IntN(20), s.rng.IntN(2)), Attr{"db.system.name", "postgresql"})
		case 3:
			s.sayf(r, "DEBUG", "gc pause %.1f ms, heap %d MiB", 0.3+4*s.rng.Float64(), 40+s.rng.IntN(300))
		default:
			s.say(r, s.some(), "INFO", fmt.Sprintf("session %08x refreshed for customer %s", s.rng.Uint32(), s.someone()), Attr{"customer.id", s.someone()})
		}
	}
}

// someone is a customer, a few of them more often than others.
func (s *scene) someone() string {
	return fmt.Sprintf("c-%d", 1000+int(2500*math.Pow(s.rng.Float64(), 1.6)))
}

// metrics writes the points of this minute, at its end.
func (s *scene) metrics() {
	end := s.Start.Add(time.Minute)
	for i := range s.Spans {
		sp := &s.Spans[i]
		if sp.Kind != KindServer {
			continue
		}
		key := histogramKey{resource: sp.Resource}
		for _, a := range sp.Attributes {
			switch v := a.Value.(type) {
			case string:
				if a.Name == "http.route" {
					key.route = v
				}
			case int64:
				if a.Name == "http.response.status_code" {
					key.status = int(v)
				}
			}
		}
		h := s.histograms[key]
		if h == nil {
			method, route, _ := strings.Cut(sp.Name, " ")
			h = &Point{
				Resource: sp.Resource, Metric: "http.server.request.duration", Unit: "s", Help: "Duration of HTTP requests.", Start: s.Start,
				Attributes: []Attr{{"http.request.method", method}, {"http.route", route}, {"http.response.status_code", int64(key.status)}},
				Buckets:    make([]uint64, len(Bounds())+1),
			}
			s.histograms[key] = h
			s.order = append(s.order, key)
		}
		seconds := sp.Duration().Seconds()
		at := len(h.Buckets) - 1
		for b, bound := range Bounds() {
			if seconds <= bound {
				at = b
				break
			}
		}
		h.Buckets[at]++
		h.Count++
		h.Value += seconds
	}
	for _, key := range s.order {
		r := key.resource
		if s.of(r.Service, site{r.Team, r.Environment, r.Region}) != r {
			continue // it was replaced
		}
		h := *s.histograms[key]
		h.Time = end
		h.Buckets = append([]uint64(nil), h.Buckets...)
		s.Points = append(s.Points, h)
	}
	mails := 0
	for i := range s.Spans {
		if s.Spans[i].Kind == KindProducer && s.Spans[i].Resource.Team == Team && s.Spans[i].Resource.Environment == Production {
			mails++
		}
	}
	s.waiting += mails
	for _, at := range s.set.sites() {
		for i, svc := range services {
			r := s.instances.get(i, at, s.Index)
			memory := svc.memory * (1 << 20) * (0.97 + 0.06*s.rng.Float64())
			inTrouble := at.team == Team && at.environment == Production
			if svc.name == "search" && inTrouble {
				grown, kills := leaked(s.Index)
				memory += grown
				s.point(Point{Resource: r, Metric: "k8s.container.restarts", Help: "Restarts of the container.", Start: s.set.Start, Time: end, Value: float64(kills)})
			}
			s.point(Point{Resource: r, Metric: "process.memory.usage", Unit: "By", Help: "Memory in use.", Time: end, Value: math.Round(memory)})
			switch {
			case svc.name == "notifications":
				waiting := float64(s.rng.IntN(3))
				if inTrouble && s.Index >= consumerFrom {
					waiting = float64(s.waiting)
				} else if inTrouble {
					s.waiting = 0
				}
				if at.region != America { // one queue for both regions
					s.point(Point{
						Resource: r, Metric: "messaging.queue.messages", Unit: "{message}", Help: "Messages that wait in the queue.", Time: end,
						Attributes: []Attr{{"messaging.destination.name", mailQueue}}, Value: waiting,
					})
				}
			case svc.name == "shipping" && at.team == Team:
				s.point(Point{
					Resource: r, Metric: "tls.certificate.remaining", Unit: "s", Help: "Time until the peer's certificate expires.", Time: end,
					Attributes: []Attr{{"server.address", carrier}}, Value: s.set.at(certificateEnd).Sub(end).Seconds(),
				})
			case svc.name == "inventory" && inTrouble:
				offset := 0.02 * (s.rng.Float64() - 0.5)
				if r.Host == skewedHost {
					offset += skew.Seconds()
				}
				s.point(Point{Resource: r, Metric: "system.clock.offset", Unit: "s", Help: "Offset of the host's clock.", Time: end, Value: offset})
			}
		}
	}
}

func (s *scene) point(p Point) { s.Points = append(s.Points, p) }
