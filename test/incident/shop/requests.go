package shop

import (
	"fmt"
	"time"
)

// A request is what one customer's click sets off: calls from service to
// service, one after the other.
type request struct {
	*scene
	site
	trace    string
	customer string
	now      time.Time
}

func (s *scene) request(at site, customer string) *request {
	return &request{scene: s, site: at, customer: customer, now: s.some(), trace: fmt.Sprintf("%016x%016x", s.rng.Uint64()|1, s.rng.Uint64())}
}

// A work is a span that is being made. Its parent may be nil.
type work struct {
	span Span
	r    *request
}

// do runs body inside of a span of a service. What body returns is what failed,
// "" for nothing.
func (r *request) do(parent *work, svc, name, kind string, attrs []Attr, body func(w *work) (problem string)) string {
	w := &work{r: r, span: Span{
		Resource: r.of(svc, r.site), TraceID: r.trace, SpanID: fmt.Sprintf("%016x", r.rng.Uint64()|1), Name: name, Kind: kind, Start: r.now, Attributes: attrs,
	}}
	if parent != nil {
		w.span.ParentID = parent.span.SpanID
	}
	r.now = r.now.Add(r.around(0.4)) // the way there
	w.span.Start = r.now
	problem := body(w)
	w.span.End = r.now
	if problem != "" {
		w.span.Error, w.span.Problem = true, problem
	}
	w.span.Start, w.span.End = stamped(w.span.Resource, w.span.Start), stamped(w.span.Resource, w.span.End)
	r.Spans = append(r.Spans, w.span)
	r.now = r.now.Add(r.around(0.4))
	return problem
}

// spend lets time pass.
func (w *work) spend(milliseconds float64) { w.r.now = w.r.now.Add(w.r.around(milliseconds)) }

func (w *work) set(name string, value any) {
	w.span.Attributes = append(w.span.Attributes, Attr{name, value})
}

// took is how long the work lasted until now, in milliseconds.
func (w *work) took() int64 { return w.r.now.Sub(w.span.Start).Milliseconds() }

func (w *work) log(severity, body string, attrs ...Attr) {
	w.r.Logs = append(w.r.Logs, Log{
		Resource: w.span.Resource, Time: stamped(w.span.Resource, w.r.now), Severity: severity, Body: body, Attributes: attrs,
		TraceID: w.span.TraceID, SpanID: w.span.SpanID,
	})
}

// serve handles a request to a route of a service: status is what body returns,
// and what failed.
func (r *request) serve(parent *work, svc, method, route string, body func(w *work) (status int, problem string)) (status int) {
	r.do(parent, svc, method+" "+route, KindServer, []Attr{{"http.request.method", method}, {"http.route", route}}, func(w *work) string {
		var problem string
		status, problem = body(w)
		w.set("http.response.status_code", int64(status))
		if status < 500 {
			return ""
		}
		return problem
	})
	return status
}

// query asks a service's database.
func (w *work) query(svc, text string, milliseconds float64) {
	w.r.do(w, svc, "SELECT "+svc, KindClient, []Attr{{"db.system.name", "postgresql"}, {"db.query.text", text}, {"server.address", "pg-" + svc}}, func(q *work) string {
		q.spend(milliseconds)
		return ""
	})
}

// gate is a request at the gateway, which logs each.
func (r *request) gate(method, route, path string, body func(w *work) (int, string)) {
	r.serve(nil, "gateway", method, route, func(w *work) (int, string) {
		w.set("customer.id", r.customer)
		w.spend(1.5)
		status, problem := body(w)
		w.spend(0.5)
		severity := "INFO"
		if status >= 500 {
			severity = "WARN"
		}
		w.log(severity, fmt.Sprintf("%s %s %d in %d ms", method, path, status, w.took()),
			Attr{"http.request.method", method}, Attr{"http.route", route}, Attr{"http.response.status_code", int64(status)},
			Attr{"customer.id", r.customer}, Attr{"duration_ms", w.took()})
		return status, problem
	})
}

// customer is one request of a customer.
func (s *scene) customer(at site) {
	r := s.request(at, s.someone())
	switch n := s.rng.IntN(100); {
	case n < 40:
		r.browse()
	case n < 60:
		r.search()
	case n < 78:
		r.cart()
	case n < 88:
		r.orders()
	default:
		r.checkout()
	}
}

func (r *request) browse() {
	product := 100 + r.rng.IntN(900)
	r.gate("GET", "/products/{id}", fmt.Sprintf("/products/%d", product), func(g *work) (int, string) {
		return r.serve(g, "storefront", "GET", "/products/{id}", func(w *work) (int, string) {
			w.spend(6)
			status := r.serve(w, "catalog", "GET", "/v1/products/{id}", func(c *work) (int, string) {
				c.spend(3)
				c.query("catalog", "SELECT * FROM products WHERE id = $1", 5)
				if product > 985 {
					c.log("INFO", fmt.Sprintf("product %d not found", product), Attr{"product.id", int64(product)})
					return 404, ""
				}
				c.log("DEBUG", fmt.Sprintf("product %d read in %d ms", product, c.took()), Attr{"product.id", int64(product)})
				return 200, ""
			})
			w.log("INFO", fmt.Sprintf("rendered product page %d in %d ms", product, w.took()), Attr{"product.id", int64(product)}, Attr{"duration_ms", w.took()})
			return status, ""
		}), ""
	})
}

var searchWords = []string{"lamp", "oak table", "green sofa", "rug", "blanket", "shelf", "mirror", "desk chair"}

func (r *request) search() {
	r.gate("GET", "/search", "/search", func(g *work) (int, string) {
		return r.serve(g, "search", "GET", "/search", func(w *work) (int, string) {
			w.spend(28)
			words := searchWords[r.rng.IntN(len(searchWords))]
			w.log("INFO", fmt.Sprintf("search for %q found %d products in %d ms", words, r.rng.IntN(80), w.took()), Attr{"duration_ms", w.took()})
			return 200, ""
		}), ""
	})
}

func (r *request) cart() {
	problem := ""
	r.gate("GET", "/cart", "/cart", func(g *work) (int, string) {
		return r.serve(g, "cart", "GET", "/cart/{customer}", func(w *work) (int, string) {
			w.spend(2)
			out := r.team == Team && r.environment == Production && between(r.Index, cacheFrom, cacheUntil)
			failed := r.do(w, "cart", "GET cart", KindClient, []Attr{{"db.system.name", "redis"}, {"server.address", "redis-cart"}}, func(c *work) string {
				c.spend(1.2)
				if out {
					return "dial tcp redis-cart:6379: connection refused"
				}
				return ""
			})
			if failed == "" {
				w.log("INFO", fmt.Sprintf("cart of customer %s has %d items", r.customer, r.rng.IntN(9)), Attr{"customer.id", r.customer})
				return 200, ""
			}
			w.log("WARN", "cache unavailable, reading cart from database: "+failed, Attr{"error.type", "ECONNREFUSED"}, Attr{"server.address", "redis-cart"})
			w.query("cart", "SELECT * FROM carts WHERE customer = $1", 140)
			if r.rng.IntN(100) < 15 {
				problem = "database pool exhausted after 5000 ms"
				w.spend(900)
				w.log("ERROR", fmt.Sprintf("cart of customer %s not loaded: %s", r.customer, problem), Attr{"error.type", "pool_exhausted"}, Attr{"customer.id", r.customer})
				return 503, problem
			}
			return 200, ""
		}), problem
	})
}

func (r *request) orders() {
	r.gate("GET", "/orders", "/orders", func(g *work) (int, string) {
		return r.serve(g, "orders", "GET", "/orders", func(w *work) (int, string) {
			w.spend(8)
			w.query("orders", "SELECT * FROM orders WHERE customer = $1", 9)
			queries := 2
			if w.span.Resource.Version == "4.8.0" {
				queries = 3
				if r.environment == Production {
					queries = 25 + r.rng.IntN(16)
				}
				for range queries - 1 {
					w.query("orders", "SELECT * FROM order_items WHERE order_id = $1", 22)
				}
			} else {
				w.query("orders", "SELECT * FROM order_items WHERE order_id = ANY($1)", 12)
			}
			attrs := []Attr{{"http.route", "/orders"}, {"queries", int64(queries)}, {"duration_ms", w.took()}}
			if w.took() > 300 {
				w.log("WARN", fmt.Sprintf("slow request GET /orders took %d ms, %d queries", w.took(), queries), attrs...)
			} else {
				w.log("INFO", fmt.Sprintf("request GET /orders took %d ms, %d queries", w.took(), queries), attrs...)
			}
			return 200, ""
		}), ""
	})
}

// A purchase is an order on its way through the shop.
type purchase struct {
	*request
	order int
}

func (r *request) checkout() {
	p := purchase{r, 40_000 + r.rng.IntN(50_000)}
	problem := ""
	r.gate("POST", "/checkout", "/checkout", func(g *work) (int, string) {
		return r.serve(g, "checkout", "POST", "/checkout", func(w *work) (int, string) {
			w.spend(9)
			for _, step := range []func(*work) int{p.session, p.reserve, p.charge, p.store} {
				status := step(w)
				if status < 400 {
					continue
				}
				problem = fmt.Sprintf("order %d not placed: upstream answered %d", p.order, status)
				if status < 500 {
					w.log("INFO", problem, Attr{"order.id", int64(p.order)})
					return status, ""
				}
				w.log("ERROR", problem, Attr{"order.id", int64(p.order)}, Attr{"error.type", "upstream"}, Attr{"http.response.status_code", int64(status)})
				return 502, problem
			}
			p.ship(w)
			p.mail(w)
			w.log("INFO", fmt.Sprintf("order %d placed by customer %s in %d ms", p.order, r.customer, w.took()),
				Attr{"order.id", int64(p.order)}, Attr{"customer.id", r.customer}, Attr{"duration_ms", w.took()})
			return 201, ""
		}), problem
	})
}

func (p purchase) session(w *work) int {
	return p.serve(w, "auth", "POST", "/introspect", func(a *work) (int, string) {
		a.spend(4)
		a.log("DEBUG", fmt.Sprintf("session of customer %s is good for %d s", p.customer, 60+p.rng.IntN(3000)), Attr{"customer.id", p.customer})
		return 200, ""
	})
}

func (p purchase) reserve(w *work) int {
	return p.serve(w, "inventory", "POST", "/reservations", func(i *work) (int, string) {
		i.spend(5)
		i.query("inventory", "UPDATE stock SET reserved = reserved + $1 WHERE product = $2", 7)
		i.log("INFO", fmt.Sprintf("reserved %d items for order %d", 1+p.rng.IntN(5), p.order), Attr{"order.id", int64(p.order)})
		return 201, ""
	})
}

func (p purchase) charge(w *work) int {
	return p.serve(w, "payments", "POST", "/charges", func(c *work) (int, string) {
		c.spend(6)
		c.set("order.id", int64(p.order))
		schema := p.team == Team && p.environment == Production && p.region == Europe && c.span.Resource.Version == "2.3.1" && p.rng.IntN(100) < 60
		problem := p.do(c, "payments", "POST /v3/charge", KindClient, []Attr{{"server.address", "psp.acme.example"}}, func(x *work) string {
			x.spend(85)
			if schema {
				return "psp answered 422"
			}
			return ""
		})
		if problem != "" {
			problem = fmt.Sprintf("psp rejected charge for order %d: missing field sca_exemption", p.order)
			c.log("ERROR", problem, Attr{"order.id", int64(p.order)}, Attr{"error.type", "psp_schema"}, Attr{"psp", "acme"}, Attr{"http.response.status_code", int64(422)})
			return 500, problem
		}
		if p.rng.IntN(100) < 3 {
			c.log("INFO", fmt.Sprintf("card declined for order %d: insufficient funds", p.order), Attr{"order.id", int64(p.order)}, Attr{"psp", "acme"})
			return 402, ""
		}
		c.log("INFO", fmt.Sprintf("charged order %d in %d ms", p.order, c.took()), Attr{"order.id", int64(p.order)}, Attr{"psp", "acme"}, Attr{"duration_ms", c.took()})
		return 201, ""
	})
}

func (p purchase) store(w *work) int {
	return p.serve(w, "orders", "POST", "/orders", func(o *work) (int, string) {
		o.spend(7)
		o.query("orders", "INSERT INTO orders VALUES ($1, $2, $3)", 11)
		o.log("INFO", fmt.Sprintf("order %d stored", p.order), Attr{"order.id", int64(p.order)})
		return 201, ""
	})
}

// ship books a parcel; an order is placed without one, too.
func (p purchase) ship(w *work) {
	p.serve(w, "shipping", "POST", "/parcels", func(s *work) (int, string) {
		s.spend(5)
		expired := p.team == Team && p.environment == Production && p.Index >= certificateEnd
		problem := p.do(s, "shipping", "POST /v2/labels", KindClient, []Attr{{"server.address", carrier}}, func(x *work) string {
			if expired {
				x.spend(14)
				return fmt.Sprintf("x509: certificate has expired or is not yet valid: current time %s is after %s",
					p.now.UTC().Format(time.RFC3339), p.set.at(certificateEnd).Format(time.RFC3339))
			}
			x.spend(60)
			return ""
		})
		if problem != "" {
			s.log("ERROR", fmt.Sprintf(`parcel for order %d not booked: Post "https://%s/v2/labels": tls: failed to verify certificate: %s`, p.order, carrier, problem),
				Attr{"order.id", int64(p.order)}, Attr{"error.type", "tls"}, Attr{"server.address", carrier})
			return 502, problem
		}
		s.log("INFO", fmt.Sprintf("parcel for order %d booked, label %08X", p.order, p.rng.Uint32()), Attr{"order.id", int64(p.order)})
		return 201, ""
	})
}

// mail puts a message into the queue, and takes it out again where somebody
// does.
func (p purchase) mail(w *work) {
	destination := []Attr{{"messaging.system", "kafka"}, {"messaging.destination.name", mailQueue}}
	p.do(w, "checkout", "send "+mailQueue, KindProducer, destination, func(q *work) string {
		q.spend(2)
		if p.team == Team && p.environment == Production && p.Index >= consumerFrom {
			return ""
		}
		here := p.now
		p.now = p.now.Add(p.around(120)) // it waits in the queue
		p.do(q, "notifications", "process "+mailQueue, KindConsumer, destination, func(n *work) string {
			n.spend(35)
			n.log("INFO", fmt.Sprintf("mail order-confirmation for order %d sent in %d ms", p.order, n.took()), Attr{"order.id", int64(p.order)}, Attr{"messaging.destination.name", mailQueue})
			return ""
		})
		p.now = here // nobody waited for it
		return ""
	})
}

// flood is a request of the customer who sends too many.
func (s *scene) flood(at site) {
	r := s.request(at, floodCustomer)
	if s.rng.IntN(100) < 15 {
		r.search()
		return
	}
	r.gate("GET", "/search", "/search", func(g *work) (int, string) {
		g.log("WARN", fmt.Sprintf("rate limit exceeded by customer %s: %d requests in 60 s, 120 allowed", floodCustomer, 130+s.rng.IntN(600)),
			Attr{"customer.id", floodCustomer}, Attr{"http.route", "/search"}, Attr{"http.response.status_code", int64(429)})
		return 429, ""
	})
}

// crawl is a request for a page that is not there.
func (s *scene) crawl(at site) {
	paths := []string{"/wp-login.php", "/.env", "/xmlrpc.php", "/admin/config.php"}
	r := s.request(at, "anonymous")
	r.gate("GET", "/", paths[s.rng.IntN(len(paths))], func(*work) (int, string) { return 404, "" })
}
