package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/spec"
)

const deviceColumns = `hash, user_hash, client_id, resource, scopes, address, created_at, expires_at, wait, polled_at, grant_id, denied_at, redeemed_at`

func scanDevice(row *sql.Row) (grant.Device, error) {
	var (
		d                                                    grant.Device
		scopes                                               string
		created, expires, wait, polled, deniedAt, redeemedAt int64
	)
	err := row.Scan(&d.Hash, &d.UserHash, &d.Client, &d.Resource, &scopes, &d.Address, &created, &expires, &wait, &polled, &d.Grant, &deniedAt, &redeemedAt)
	d.Scopes, d.Wait = spec.ParseScopes(scopes), time.Duration(wait)*time.Millisecond
	d.CreatedAt, d.ExpiresAt, d.PolledAt = fromMillis(created), fromMillis(expires), fromMillis(polled)
	d.DeniedAt, d.RedeemedAt = fromMillis(deniedAt), fromMillis(redeemedAt)
	return d, err
}

// AddDevice implements grant.DeviceStore.
func (db *DB) AddDevice(ctx context.Context, d grant.Device, ceiling grant.DeviceCeiling) error {
	return db.update(ctx, func(t *tx) error {
		// An expired one is kept a little, to say that it expired.
		if _, err := t.exec("DELETE FROM device_codes WHERE expires_at < $1", millis(d.CreatedAt.Add(-grant.DeviceLifetime))); err != nil {
			return fmt.Errorf("sweep device codes: %w", err)
		}
		const oldest = `DELETE FROM device_codes WHERE hash IN (
			SELECT hash FROM device_codes WHERE ($1 = '' OR address = $1) AND grant_id = ''
			ORDER BY created_at DESC, hash LIMIT 1000000000 OFFSET $2)`
		if _, err := t.exec(oldest, d.Address, int64(ceiling.Address-1)); err != nil {
			return fmt.Errorf("keep to the ceiling of an address: %w", err)
		}
		if _, err := t.exec(oldest, "", int64(ceiling.All-1)); err != nil {
			return fmt.Errorf("keep to the ceiling: %w", err)
		}
		if _, err := t.exec("INSERT INTO device_codes ("+deviceColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', 0, 0)",
			d.Hash, d.UserHash, string(d.Client), d.Resource, d.Scopes.String(), d.Address, millis(d.CreatedAt), millis(d.ExpiresAt), d.Wait.Milliseconds()); err != nil {
			return fmt.Errorf("insert device code: %w", err)
		}
		return nil
	})
}

// DeviceByUserHash implements grant.DeviceStore.
func (db *DB) DeviceByUserHash(ctx context.Context, userHash string) (grant.Device, error) {
	return deviceByUserHash(ctx, db.read, userHash)
}

func deviceByUserHash(ctx context.Context, q querier, userHash string) (grant.Device, error) {
	d, err := scanDevice(q.QueryRowContext(ctx, "SELECT "+deviceColumns+" FROM device_codes WHERE user_hash = $1", userHash))
	if errors.Is(err, sql.ErrNoRows) {
		return grant.Device{}, grant.ErrUserCodeUnknown
	}
	if err != nil {
		return grant.Device{}, fmt.Errorf("read device code: %w", err)
	}
	return d, nil
}

// ApproveDevice implements grant.DeviceStore.
func (db *DB) ApproveDevice(ctx context.Context, userHash string, g grant.Grant, c grant.Client, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		d, err := deviceByUserHash(ctx, t, userHash)
		if err != nil {
			return err
		}
		if d.Grant != "" {
			s, err := standing(ctx, t, d.Grant)
			if err != nil && !errors.Is(err, grant.ErrNotFound) {
				return err
			}
			if err == nil && s.Grant.Person == g.Person {
				return nil // a double click
			}
			return grant.ErrUserCodeUnknown
		}
		if d.Client != c.ID || !d.DeniedAt.IsZero() || !g.CreatedAt.Before(d.ExpiresAt) {
			return grant.ErrUserCodeUnknown
		}
		if err := t.insertClient(c); err != nil {
			return err
		}
		if err := t.insertGrant(g); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE device_codes SET grant_id = $1 WHERE hash = $2", string(g.ID), d.Hash); err != nil {
			return fmt.Errorf("bind device to grant: %w", err)
		}
		return t.record(ev)
	})
}

// DenyDevice implements grant.DeviceStore.
func (db *DB) DenyDevice(ctx context.Context, userHash string, at time.Time, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE device_codes SET denied_at = $1 WHERE user_hash = $2 AND grant_id = '' AND denied_at = 0 AND expires_at > $1", millis(at), userHash)
		if err != nil {
			return fmt.Errorf("deny device: %w", err)
		}
		if n == 0 {
			return grant.ErrUserCodeUnknown
		}
		return t.record(ev)
	})
}

// ChangeDevice implements grant.DeviceStore.
func (db *DB) ChangeDevice(ctx context.Context, hash string, change func(*grant.Device, *grant.Standing) ([]audit.Event, error)) error {
	return db.update(ctx, func(t *tx) error {
		d, err := scanDevice(t.QueryRowContext(ctx, "SELECT "+deviceColumns+" FROM device_codes WHERE hash = $1", hash))
		if errors.Is(err, sql.ErrNoRows) {
			return grant.ErrDeviceUnknown
		}
		if err != nil {
			return fmt.Errorf("read device code: %w", err)
		}
		if d.Grant == "" {
			events, err := change(&d, nil)
			if err != nil {
				return err
			}
			if err := t.record(events...); err != nil {
				return err
			}
		} else if err := t.changeGrant(ctx, d.Grant, func(s *grant.Standing) ([]audit.Event, error) { return change(&d, s) }); err != nil {
			return err
		}
		if _, err := t.exec("UPDATE device_codes SET wait = $1, polled_at = $2, redeemed_at = $3 WHERE hash = $4",
			d.Wait.Milliseconds(), millis(d.PolledAt), millis(d.RedeemedAt), hash); err != nil {
			return fmt.Errorf("update device code: %w", err)
		}
		return nil
	})
}
