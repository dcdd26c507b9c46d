package shop

import (
	"fmt"
	"time"
)

// When things happen, in minutes from the start of a set.
const (
	leakFrom       = 20  // search's memory begins to grow
	leakEvery      = 40  // and it is killed after so many minutes, again and again
	cacheFrom      = 60  // cart's cache is out
	cacheUntil     = 80  //
	crawlerAt      = 95  // distractor: one minute of a crawler
	ordersDeploy   = 100 // orders 4.8.0 asks once for each item
	consumerFrom   = 110 // the consumer of mail is stuck
	catalogDeploy  = 118 // distractor: catalog 5.2.0 does nothing
	paymentsDeploy = 120 // payments 2.3.1 fails in Europe
	certificateEnd = 130 // the carrier's certificate expires
	floodFrom      = 140 // one customer floods the gateway
	floodUntil     = 155
	skewFrom       = 0 // the clock of one host is behind
)

// What the faults are about.
const (
	floodCustomer = "c-7781"
	floodFactor   = 8 // times the usual requests
	crawlerHits   = 250
	skewedHost    = "node-7"
	skew          = -6*time.Minute - 40*time.Second
	carrier       = "api.parcelwise.example"
	mailQueue     = "mail"
	memoryLimit   = 512 << 20
)

// Truth says what is in a set.
type Truth struct {
	Seed        uint64       `json:"seed"`
	Start       time.Time    `json:"start"`
	End         time.Time    `json:"end"`
	Services    []string     `json:"services"`
	Teams       []string     `json:"teams"`
	Faults      []Fault      `json:"faults"`
	Distractors []Distractor `json:"distractors"`
}

// A Fault is something that went wrong and that an investigation must find.
type Fault struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	// Symptom is what somebody would come with, Cause what was behind it.
	Symptom  string    `json:"symptom"`
	Cause    string    `json:"cause"`
	Services []string  `json:"services"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	// Facts are what an investigation must have seen.
	Facts []Fact `json:"facts"`
}

// A Fact is something that an answer about a fault says. Pattern is a regular
// expression (RE2) that matches a text which says so.
type Fact struct {
	Name    string `json:"name"`
	Pattern string `json:"pattern"`
}

// A Distractor looks like a cause and is none.
type Distractor struct {
	ID       string    `json:"id"`
	Title    string    `json:"title"`
	Services []string  `json:"services"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
}

// FaultByID returns a fault of the truth.
func (t *Truth) FaultByID(id string) (Fault, bool) {
	for _, f := range t.Faults {
		if f.ID == id {
			return f, true
		}
	}
	return Fault{}, false
}

// clock matches a time of day within some minutes from a moment, with seconds.
func clock(from time.Time, minutes int) string {
	p := ""
	for i := range minutes {
		if i > 0 {
			p += "|"
		}
		p += from.Add(time.Duration(i) * time.Minute).Format("15:04")
	}
	return `T(` + p + `):`
}

func (s *Set) truth() Truth {
	all := func(id, title string, from, until int, services ...string) Fault {
		end := s.End
		if until > 0 {
			end = s.at(until)
		}
		return Fault{ID: id, Title: title, Services: services, Start: s.at(from), End: end}
	}
	with := func(f Fault, symptom, cause string, facts ...Fact) Fault {
		f.Symptom, f.Cause, f.Facts = symptom, cause, facts
		return f
	}
	t := Truth{Seed: s.Seed, Start: s.Start, End: s.End, Services: Services(), Teams: []string{Team, OtherTeam}}
	t.Faults = []Fault{
		with(all("bad_deploy", "payments 2.3.1 fails in Europe", paymentsDeploy, 0, "payments", "checkout"),
			"Checkouts fail for some customers.",
			"The deploy of payments 2.3.1 sends the payment provider a message without sca_exemption, which it demands in Europe.",
			Fact{"service", `\bpayments\b`},
			Fact{"message", `psp rejected charge.*missing field sca_exemption`},
			Fact{"version", `service\.version[^\n]*2\.3\.1`},
			Fact{"region", `cloud\.region[^\n]*` + Europe},
			Fact{"since", clock(s.at(paymentsDeploy), 3)},
		),
		with(all("slow_query", "orders 4.8.0 asks the database once for each item", ordersDeploy, 0, "orders"),
			"The list of orders is slow.",
			"The deploy of orders 4.8.0 reads the items of an order one by one (N+1).",
			Fact{"service", `\borders\b`},
			Fact{"slow requests", `slow request GET /orders`},
			Fact{"many queries", `GET /orders took \d+ ms, (2[5-9]|3\d|40) queries`},
			Fact{"version", `service\.version[^\n]*4\.8\.0`},
			Fact{"since", clock(s.at(ordersDeploy), 3)},
		),
		with(all("cache_outage", "the cache of cart is out", cacheFrom, cacheUntil, "cart"),
			"Carts did not load for a while.",
			"redis-cart refused connections for 20 minutes; cart fell back to its database and failed in part.",
			Fact{"service", `\bcart\b`},
			Fact{"message", `redis-cart:6379: connection refused`},
			Fact{"first", clock(s.at(cacheFrom), 2)},
			Fact{"last", clock(s.at(cacheUntil-2), 2)},
		),
		with(all("flood", "one customer floods the gateway", floodFrom, floodUntil, "gateway"),
			"Somebody gets 429.",
			"Customer "+floodCustomer+" sends many times the usual requests and is held back.",
			Fact{"service", `\bgateway\b`},
			Fact{"status", `\b429\b`},
			Fact{"customer", `customer\.id[^\n]*` + floodCustomer + `|` + floodCustomer},
			Fact{"when", clock(s.at(floodFrom), 2)},
		),
		with(all("certificate", "the carrier's certificate has expired", certificateEnd, 0, "shipping"),
			"No parcels are booked.",
			"The certificate of "+carrier+" expired; every call of shipping to it fails.",
			Fact{"service", `\bshipping\b`},
			Fact{"message", `x509: certificate has expired`},
			Fact{"expired before", fmt.Sprintf(`tls_certificate_remaining_seconds(?s:.*)\t-%d\b`, int(s.End.Sub(s.at(certificateEnd)).Seconds()))},
			Fact{"peer", `api\.parcelwise\.example`},
			Fact{"since", clock(s.at(certificateEnd), 6)},
		),
		with(all("memory_leak", "search leaks memory and is killed", leakFrom, 0, "search"),
			"Search restarts now and then.",
			"search grows until its limit of 512 MiB and is killed for it every 40 minutes.",
			Fact{"service", `\bsearch\b`},
			Fact{"killed", `OOMKilled|out of memory`},
			Fact{"memory", `process_memory_usage_bytes(?s:.*)\b5[0-3]\d{7}\b`},
			Fact{"again", `(restart|started)[^\n]*\b[2-9]\b|(?s)started after OOMKilled.*started after OOMKilled`},
		),
		with(all("stuck_consumer", "the consumer of mail is stuck", consumerFrom, 0, "notifications"),
			"Customers get no mail.",
			"The consumer of the queue mail stands still since its group was rebalanced; there are no errors.",
			Fact{"service", `\bnotifications\b`},
			Fact{"gone", `(?s)gone:.*mail order-confirmation for order <\*> sent`},
			Fact{"queue", `messaging_queue_messages(?s:.*)\bprod\t[1-9]\d\d\b`},
			Fact{"rebalance", `consumer group mail-senders rebalanc`},
		),
		with(all("clock_skew", "the clock of "+skewedHost+" is behind", skewFrom, 0, "inventory"),
			"Records of inventory come before what caused them.",
			"The clock of "+skewedHost+" is 6 min 40 s behind.",
			Fact{"service", `\binventory\b`},
			Fact{"host", `host\.name[^\n]*` + skewedHost + `|\b` + skewedHost + `\b`},
			Fact{"said so", `clock unsynchronised`},
			Fact{"how much", `system_clock_offset_seconds(?s:.*)\t-(399|400)\b`},
		),
	}
	t.Distractors = []Distractor{
		{"noisy_errors", "auth cannot follow referrals of its directory, and never could", []string{"auth"}, s.Start, s.End},
		{"harmless_deploy", "catalog 5.2.0 is deployed right before payments 2.3.1", []string{"catalog"}, s.at(catalogDeploy), s.at(catalogDeploy + 1)},
		{"spike", fmt.Sprintf("a crawler asks for %d pages that are not there", crawlerHits), []string{"gateway"}, s.at(crawlerAt), s.at(crawlerAt + 1)},
	}
	return t
}

// between says that a minute lies in a half-open range.
func between(minute, from, until int) bool { return minute >= from && minute < until }

// leaked returns how far the memory of search has grown, in bytes, and how
// often it was killed until then.
func leaked(minute int) (bytes float64, kills int) {
	if minute < leakFrom {
		return 0, 0
	}
	since := minute - leakFrom
	return float64(since%leakEvery) / leakEvery * (memoryLimit * 0.62), since / leakEvery
}
