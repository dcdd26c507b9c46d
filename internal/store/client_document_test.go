package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
)

func TestClientDocuments(t *testing.T) {
	db, ctx := open(t), t.Context()
	if _, err := db.ClientDocument(ctx, "https://a.example/x"); !errors.Is(err, clientdoc.ErrNoCopy) {
		t.Fatalf("error = %v", err)
	}
	copyOf := func(n int) clientdoc.Copy {
		return clientdoc.Copy{
			URL: fmt.Sprintf("https://a.example/%d", n), Body: fmt.Appendf(nil, "{%d}", n), ETag: `"e"`, LastModified: "m",
			FetchedAt: time.UnixMilli(int64(1000 + n)).UTC(), FreshUntil: time.UnixMilli(int64(2000 + n)).UTC(),
		}
	}
	// The oldest belongs to a client that is stored.
	used := grant.Client{ID: grant.ClientID(copyOf(0).URL), Kind: grant.Document}
	if err := db.SaveClient(ctx, used, audit.Event{}); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		if err := db.SaveClientDocument(ctx, copyOf(n), 3, audit.Event{Kind: audit.ClientDocumentFetched}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		got, err := db.ClientDocument(ctx, copyOf(n).URL)
		if kept := n == 0 || n >= 7; kept != (err == nil) {
			t.Errorf("document %d: %v", n, err)
		} else if kept {
			if d := cmp.Diff(copyOf(n), got); d != "" {
				t.Errorf("document %d: %s", n, d)
			}
		}
	}
}

func TestHostsAreBlocked(t *testing.T) {
	db, ctx := open(t), t.Context()
	c := grant.Client{ID: "https://app.example/c.json", Kind: grant.Document}
	if err := db.SaveClient(ctx, c, audit.Event{}); err != nil {
		t.Fatal(err)
	}
	blocked := func() bool {
		t.Helper()
		got, err := db.ClientByKey(ctx, c.Key())
		if err != nil {
			t.Fatal(err)
		}
		direct, err := db.ProductBlocked(ctx, c.Integrations()...)
		if err != nil || direct != got.Blocked {
			t.Fatalf("%t and %t, %v", direct, got.Blocked, err)
		}
		return direct
	}
	for _, step := range []struct {
		product string
		block   bool
		want    bool
	}{
		{"host:other.example", true, false},
		{"host:app.example", true, true},
		{"https://app.example/c.json", true, true},
		{"host:app.example", false, true},
		{"https://app.example/c.json", false, false},
	} {
		if err := db.SetProductBlocked(ctx, step.product, step.block, audit.Event{}); err != nil {
			t.Fatal(err)
		}
		if got := blocked(); got != step.want {
			t.Errorf("after %+v: blocked %t", step, got)
		}
	}
	if b, err := db.ProductBlocked(ctx); b || err != nil {
		t.Errorf("nothing is blocked: %t, %v", b, err)
	}
}
