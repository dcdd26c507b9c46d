// Package promremote keeps metrics in a server of somebody else that speaks
// Prometheus' HTTP API and remote write: Prometheus, Mimir, Thanos,
// VictoriaMetrics.
//
// The server never sees the text of a caller. Every selector that is sent was
// printed here, with the tenant and the data scope in it, and what comes back
// is held against the scope once more. An expression is handed over as a whole
// only where the server's answer is exactly what the scope allows; otherwise
// its series are fetched and the expression is evaluated in this process, by
// the same engine and through the same filter as metrics that are kept here.
package promremote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/orielhq/oriel/internal/telemetry"
	"github.com/orielhq/oriel/internal/telemetry/prom"
)

const (
	// Placeholder stands for the tenant's number in the path of a URL.
	Placeholder = "{tenant}"
	// maxAnswerBytes bounds any answer of the server.
	maxAnswerBytes = 256 << 20
	// bytesPerSampleSent is what a sample may take in an answer, labels
	// included: a budget's samples times this bounds the answer.
	bytesPerSampleSent = 64
	// minAnswerBytes is what an answer may always take.
	minAnswerBytes = 1 << 20
	// maxConcurrent is how many queries run at once; queueTime how long
	// another waits.
	maxConcurrent = 8
	queueTime     = 5 * time.Second
)

// Server is the kind of a server: what it can be asked for.
type Server int

// The kinds of servers.
const (
	// Prometheus, and Mimir: they have the remote read API.
	Prometheus Server = iota
	// Thanos has none: raw samples are asked for as range selectors, which
	// know no native histograms and no markers of a series' end.
	Thanos
	// VictoriaMetrics evaluates expressions by rules of its own, so that they
	// are all evaluated here.
	VictoriaMetrics
)

// Tenancy says how the server tells tenants apart: by Header or Label, or,
// where both are empty, by Placeholder in the path of both URLs.
type Tenancy struct {
	// Header carries the tenant's number, e.g. X-Scope-OrgID.
	Header string
	// Label is added to every series, and to every selector.
	Label string
}

// Config says which server it is.
type Config struct {
	// URL is what the API's paths (/api/v1/query) are appended to.
	URL string
	// WriteURL takes remote write; "" is URL with /api/v1/write.
	WriteURL string
	Server   Server
	Tenancy  Tenancy
	// HTTP carries credentials and certificates; nil is a plain client.
	// Redirects are never followed.
	HTTP   *http.Client
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// A Store is the metrics of all tenants on one server. It implements
// telemetry.Metrics and is safe for concurrent use.
type Store struct {
	cfg    Config
	http   *http.Client
	parser parser.Parser
	slots  chan struct{}
}

var _ telemetry.Metrics = (*Store)(nil)

// Open returns a store. It does not talk to the server: see Prove.
func Open(c Config) (*Store, error) {
	if c.Logger == nil {
		return nil, errors.New("open the metrics: Logger is needed")
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.WriteURL == "" {
		c.WriteURL = c.URL + "/api/v1/write"
	}
	if c.Tenancy.Header != "" && c.Tenancy.Label != "" {
		return nil, errors.New("open the metrics: tenants are told apart by a header or a label, not by both")
	}
	if l := c.Tenancy.Label; l != "" && (!model.LegacyValidation.IsValidLabelName(l) || strings.HasPrefix(l, "__")) {
		return nil, fmt.Errorf("open the metrics: %q is no name of a label", l)
	}
	byPath := c.Tenancy == Tenancy{}
	for _, text := range []string{c.URL, c.WriteURL} {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("open the metrics: the URLs must be http or https, with a host, and without a query")
		}
		if in := strings.Contains(u.Path, Placeholder); in != byPath || strings.Count(text, Placeholder) > 1 {
			return nil, fmt.Errorf("open the metrics: without a header or a label both URLs need %s in their path, once, and with one neither", Placeholder)
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	client := http.Client{}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Store{cfg: c, http: &client, parser: parser.NewParser(parser.Options{}), slots: make(chan struct{}, maxConcurrent)}, nil
}

func number(tenant telemetry.TenantID) string { return strconv.FormatUint(uint64(tenant), 10) }

// request makes a request in the tenant's name.
func (s *Store) request(ctx context.Context, target string, tenant telemetry.TenantID, contentType string, body []byte) (*http.Request, error) {
	target = strings.Replace(target, Placeholder, number(tenant), 1)
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the metrics' server: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if h := s.cfg.Tenancy.Header; h != "" {
		req.Header.Set(h, number(tenant))
	}
	return req, nil
}

func overran(errorType string) bool { return errorType == "timeout" || errorType == "canceled" }

// Overrun tells the answer, with status 503, to an expression that took longer
// than it may from one that says something of the server.
func Overrun(answer []byte) bool {
	var said struct{ ErrorType string }
	return json.Unmarshal(answer, &said) == nil && overran(said.ErrorType)
}

// errRejected is an answer of the server that the query cannot be evaluated.
// What it says is not passed on.
var errRejected = errors.New("the metrics' server cannot evaluate the query")

// ask does a request and returns the answer's body, which has at most limit
// bytes.
func (s *Store) ask(req *http.Request, limit int) ([]byte, error) {
	resp, err := s.http.Do(req)
	if err != nil {
		if ctx := req.Context(); ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.cfg.Logger.Warn("the metrics' server cannot be reached", "err", err)
		return nil, telemetry.ErrUnavailable
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch {
	case req.Context().Err() != nil:
		return nil, req.Context().Err()
	case err != nil:
		s.cfg.Logger.Warn("the metrics' server ended its answer", "err", err)
		return nil, telemetry.ErrUnavailable
	case len(body) > limit:
		return nil, telemetry.ErrTooExpensive
	case resp.StatusCode == http.StatusOK:
		return body, nil
	}
	var said struct{ ErrorType, Error string }
	_ = json.Unmarshal(body, &said)
	// Its words may be of other tenants: they are for the log of the server.
	s.cfg.Logger.Warn("the metrics' server refused a request", "path", req.URL.Path, "status", resp.StatusCode, "type", said.ErrorType)
	switch {
	case overran(said.ErrorType),
		resp.StatusCode == http.StatusUnprocessableEntity && (strings.Contains(said.Error, "too many samples") || strings.Contains(said.Error, "limit")),
		resp.StatusCode == http.StatusRequestEntityTooLarge:
		return nil, telemetry.ErrTooExpensive
	case resp.StatusCode == http.StatusUnprocessableEntity, resp.StatusCode == http.StatusBadRequest:
		return nil, errRejected
	}
	return nil, telemetry.ErrUnavailable
}

// an answer of the HTTP API.
type answer struct {
	Status   string          `json:"status"`
	Data     json.RawMessage `json:"data"`
	Warnings []string        `json:"warnings"`
	Infos    []string        `json:"infos"`
}

// get asks the HTTP API and decodes the answer's data.
func (s *Store) get(ctx context.Context, q reading, path string, form url.Values, into any) (answer, error) {
	var a answer
	var body []byte
	if form != nil {
		body = []byte(form.Encode())
	}
	req, err := s.request(ctx, s.cfg.URL+path, q.tenant, "application/x-www-form-urlencoded", body)
	if err != nil {
		return a, err
	}
	text, err := s.ask(req, answerBytes(q.budget))
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Status != "success" {
		s.cfg.Logger.Warn("the metrics' server answered something else", "path", path)
		return a, telemetry.ErrUnavailable
	}
	if err := json.Unmarshal(a.Data, into); err != nil {
		s.cfg.Logger.Warn("the metrics' server answered something else", "path", path)
		return a, telemetry.ErrUnavailable
	}
	return a, nil
}

func answerBytes(b telemetry.Budget) int {
	return min(maxAnswerBytes, max(minAnswerBytes, prom.MaxSamples(b)*bytesPerSampleSent))
}

// A reading is one question to the server.
type reading struct {
	tenant telemetry.TenantID
	scope  prom.Scope
	budget telemetry.Budget
}

// read calls do within the view's scope, the budget's time and the number of
// queries at once. For a zero view do is not called.
func (s *Store) read(ctx context.Context, view telemetry.View, b telemetry.Budget, do func(context.Context, reading) error) error {
	tenant, ok := view.Tenant()
	if !ok {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	scope, err := prom.NewScope(view, s.cfg.Now())
	if err != nil {
		return err
	}
	queue := time.NewTimer(queueTime)
	defer queue.Stop()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-queue.C:
		return fmt.Errorf("%w: too many queries are running", telemetry.ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
	deadline, cancel := context.WithTimeout(ctx, b.Time)
	defer cancel()
	err = do(deadline, reading{tenant, scope, b})
	for _, known := range []error{telemetry.ErrTooExpensive, telemetry.ErrUnavailable} {
		if ctx.Err() == nil && errors.Is(err, known) {
			return known
		}
	}
	if errors.Is(err, errRejected) && ctx.Err() == nil {
		return &telemetry.QueryError{Problem: "the metrics' server cannot evaluate the query", Offset: -1}
	}
	return prom.ReadError(ctx, err)
}

// matchers are what is sent for a caller's: with the tenant and what the scope
// implies. ok is false where nothing can match.
func (s *Store) matchers(q reading, of []*labels.Matcher) (all []*labels.Matcher, ok bool) {
	label := s.cfg.Tenancy.Label
	for _, m := range of {
		if label == "" || m.Name != label {
			all = append(all, m)
		} else if !m.Matches("") {
			return nil, false // to a caller the label does not exist
		}
	}
	all = append(all, q.scope.Implied()...)
	if label != "" {
		all = append(all, tenantMatcher(label, q.tenant))
	}
	return all, true
}

// tenantMatcher is a regular expression: absent() makes labels of equalities.
func tenantMatcher(label string, tenant telemetry.TenantID) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, label, number(tenant))
}

// errForeign is what a server that mixes tenants up answers: to those who asked
// it is as if it did not answer at all.
var errForeign = fmt.Errorf("%w: it answered with a series of another tenant", telemetry.ErrUnavailable)

// own takes the tenant's label away from a series' labels. A series of anybody
// else is an error: the server does not do as it is told.
func (s *Store) own(q reading, b *labels.Builder) (labels.Labels, error) {
	if label := s.cfg.Tenancy.Label; label != "" {
		if b.Get(label) != number(q.tenant) {
			s.cfg.Logger.Error("the metrics' server answered with a series of another tenant")
			return labels.EmptyLabels(), errForeign
		}
		b.Del(label)
	}
	return b.Labels(), nil
}

// selectorText prints a selector. Every matcher is within the braces.
func selectorText(matchers []*labels.Matcher) string {
	return (&parser.VectorSelector{LabelMatchers: withoutEmpty(matchers)}).String()
}

// withoutEmpty adds a matcher for every name where none refuses the empty
// text: selectors need one.
func withoutEmpty(matchers []*labels.Matcher) []*labels.Matcher {
	for _, m := range matchers {
		if !m.Matches("") {
			return matchers
		}
	}
	return append(matchers[:len(matchers):len(matchers)], labels.MustNewMatcher(labels.MatchNotEqual, telemetry.MetricName, ""))
}

// seconds is a time as the API takes it.
func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }
