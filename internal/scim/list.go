package scim

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// searchRequest asks for a part of a list (RFC 7644 §3.4.2).
type searchRequest struct{ Filter, Start, Count string }

// listResponse is that part (RFC 7644 §3.4.2).
type listResponse struct {
	Schemas   []string         `json:"schemas"`
	Total     int              `json:"totalResults"`
	Start     int              `json:"startIndex"`
	PerPage   int              `json:"itemsPerPage"`
	Resources []map[string]any `json:"Resources"`
}

func (s *Server) search(ctx context.Context, k kind, q searchRequest, show projection) (reply, error) {
	var f filter
	if q.Filter != "" {
		var err error
		if f, err = parseFilter(q.Filter); err != nil {
			return reply{}, err
		}
	}
	start, err := number(q.Start, "startIndex", 1)
	if err != nil {
		return reply{}, err
	}
	count, err := number(q.Count, "count", defaultCount)
	if err != nil {
		return reply{}, err
	}
	// RFC 7644 §3.4.2.4: less than one means one, a negative count none.
	start, count = max(start, 1), min(max(count, 0), maxCount)
	all, err := k.list(ctx, f)
	if err != nil {
		return reply{}, err
	}
	if f != nil {
		all = slices.DeleteFunc(all, func(r map[string]any) bool { return !f.matches(r) })
	}
	page := all[min(start-1, len(all)):]
	page = page[:min(count, len(page))]
	shown := make([]map[string]any, len(page))
	for i, r := range page {
		shown[i] = show.of(r)
	}
	return reply{status: http.StatusOK, body: listResponse{[]string{messageList}, len(all), start, len(shown), shown}}, nil
}

func number(text, name string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, invalid("invalidValue", "%s must be a number", name)
	}
	return n, nil
}

// projection says which attributes of a resource are shown (RFC 7644 §3.9).
type projection struct{ only, without map[string]bool }

// always are shown whatever is asked for (RFC 7643 §2.2, returned: always).
var always = map[string]bool{"id": true, "schemas": true}

func parseProjection(q url.Values) (projection, error) {
	names := func(text string) map[string]bool {
		if text == "" {
			return nil
		}
		m := make(map[string]bool)
		for n := range strings.SplitSeq(text, ",") {
			if p, ok := parsePath(strings.TrimSpace(n)); ok {
				m[p.attribute] = true
			}
		}
		return m
	}
	p := projection{names(q.Get("attributes")), names(q.Get("excludedAttributes"))}
	if p.only != nil && p.without != nil {
		return p, invalid("invalidValue", "attributes and excludedAttributes exclude each other")
	}
	return p, nil
}

func (p projection) of(r map[string]any) map[string]any {
	if p.only == nil && p.without == nil {
		return r
	}
	r = maps.Clone(r)
	maps.DeleteFunc(r, func(name string, _ any) bool {
		name = strings.ToLower(name)
		return !always[name] && (p.only != nil && !p.only[name] || p.without[name])
	})
	return r
}
