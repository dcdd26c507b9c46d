package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
)

var _ clientdoc.Store = (*DB)(nil)

// ClientDocument implements clientdoc.Store.
func (db *DB) ClientDocument(ctx context.Context, url string) (clientdoc.Copy, error) {
	c := clientdoc.Copy{URL: url}
	var fetched, fresh int64
	err := db.read.QueryRowContext(ctx, "SELECT body, etag, last_modified, fetched_at, fresh_until FROM client_documents WHERE url = $1", url).
		Scan(&c.Body, &c.ETag, &c.LastModified, &fetched, &fresh)
	if errors.Is(err, sql.ErrNoRows) {
		return clientdoc.Copy{}, clientdoc.ErrNoCopy
	}
	if err != nil {
		return clientdoc.Copy{}, fmt.Errorf("read client document: %w", err)
	}
	c.FetchedAt, c.FreshUntil = fromMillis(fetched), fromMillis(fresh)
	return c, nil
}

// SaveClientDocument implements clientdoc.Store.
func (db *DB) SaveClientDocument(ctx context.Context, c clientdoc.Copy, keep int, events ...audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO client_documents (url, body, etag, last_modified, fetched_at, fresh_until) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (url) DO UPDATE SET body = excluded.body, etag = excluded.etag, last_modified = excluded.last_modified,
				fetched_at = excluded.fetched_at, fresh_until = excluded.fresh_until`,
			c.URL, c.Body, c.ETag, c.LastModified, millis(c.FetchedAt), millis(c.FreshUntil)); err != nil {
			return fmt.Errorf("insert client document: %w", err)
		}
		if _, err := t.exec(`DELETE FROM client_documents WHERE url NOT IN (SELECT client_id FROM clients) AND url NOT IN (
				SELECT url FROM client_documents WHERE url NOT IN (SELECT client_id FROM clients) ORDER BY fetched_at DESC, url LIMIT $1)`, keep); err != nil {
			return fmt.Errorf("forget client documents that nobody uses: %w", err)
		}
		return t.record(events...)
	})
}

// setClientHosts stores the hosts that a client belongs to.
func (t *tx) setClientHosts(c grant.Client) error {
	if _, err := t.exec("DELETE FROM client_hosts WHERE client_key = $1", string(c.Key())); err != nil {
		return fmt.Errorf("replace hosts of client %s: %w", c.Key(), err)
	}
	for _, h := range c.Hosts() {
		if _, err := t.exec("INSERT INTO client_hosts (client_key, host) VALUES ($1, $2) ON CONFLICT (client_key, host) DO NOTHING", string(c.Key()), h); err != nil {
			return fmt.Errorf("insert host of client %s: %w", c.Key(), err)
		}
	}
	return nil
}

// setAllClientHosts does so for every client: those that were stored before
// hosts were must be found by a block.
func (t *tx) setAllClientHosts(ctx context.Context) error {
	clients, err := query(ctx, t, func(rows *sql.Rows) (grant.Client, error) {
		var r clientRow
		if err := rows.Scan(r.fields()...); err != nil {
			return grant.Client{}, err
		}
		return r.client()
	}, "SELECT "+clientColumns+" FROM clients")
	if err != nil {
		return err
	}
	for _, c := range clients {
		if err := t.setClientHosts(c); err != nil {
			return err
		}
	}
	return nil
}
