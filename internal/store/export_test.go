package store

import "context"

// Tamper runs a statement that appends nothing to the change feed.
func (db *DB) Tamper(ctx context.Context, text string) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(text)
		return err
	})
}
