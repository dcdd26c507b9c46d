package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/orielhq/oriel/internal/access"
	"github.com/orielhq/oriel/internal/audit"
	"github.com/orielhq/oriel/internal/login/mfa"
	"github.com/orielhq/oriel/internal/org"
)

var _ mfa.Store = (*DB)(nil)

const selectFactors = `SELECT id, person_id, kind, name, secret, last_step, credential_id, credential, created_at, last_used_at FROM factors`

func scanFactor(rows interface{ Scan(...any) error }) (mfa.Factor, error) {
	var (
		f             mfa.Factor
		created, used int64
	)
	err := rows.Scan(&f.ID, &f.Person, &f.Kind, &f.Name, &f.Secret, &f.LastStep, &f.CredentialID, &f.Credential, &created, &used)
	f.CreatedAt, f.LastUsedAt = fromMillis(created), fromMillis(used)
	return f, err
}

// Factors implements mfa.Store.
func (db *DB) Factors(ctx context.Context, person org.PersonID) ([]mfa.Factor, error) {
	return query(ctx, db.read, func(rows *sql.Rows) (mfa.Factor, error) { return scanFactor(rows) },
		selectFactors+" WHERE person_id = $1 ORDER BY created_at, id", string(person))
}

// FactorKinds implements mfa.Store.
func (db *DB) FactorKinds(ctx context.Context) (map[org.PersonID][]mfa.Kind, error) {
	kinds := make(map[org.PersonID][]mfa.Kind)
	_, err := query(ctx, db.read, func(rows *sql.Rows) (struct{}, error) {
		var (
			person org.PersonID
			kind   mfa.Kind
		)
		err := rows.Scan(&person, &kind)
		kinds[person] = append(kinds[person], kind)
		return struct{}{}, err
	}, "SELECT DISTINCT person_id, kind FROM factors ORDER BY person_id, kind")
	return kinds, err
}

// FactorByCredential implements mfa.Store.
func (db *DB) FactorByCredential(ctx context.Context, credentialID string) (mfa.Factor, error) {
	f, err := scanFactor(db.read.QueryRowContext(ctx, selectFactors+" WHERE credential_id = $1 AND credential_id <> ''", credentialID))
	if errors.Is(err, sql.ErrNoRows) {
		return mfa.Factor{}, mfa.ErrNotFound
	}
	if err != nil {
		return mfa.Factor{}, fmt.Errorf("read factor: %w", err)
	}
	return f, nil
}

// AddFactor implements mfa.Store.
func (db *DB) AddFactor(ctx context.Context, f mfa.Factor, ceiling int, recovery []string, events ...audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		var n int
		if err := t.QueryRow("SELECT count(*) FROM factors WHERE person_id = $1", string(f.Person)).Scan(&n); err != nil {
			return fmt.Errorf("count factors: %w", err)
		}
		if n >= ceiling {
			return mfa.ErrTooMany
		}
		_, err := t.exec(`INSERT INTO factors (id, person_id, kind, name, secret, last_step, credential_id, credential, created_at, last_used_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			string(f.ID), string(f.Person), string(f.Kind), f.Name, f.Secret, f.LastStep, f.CredentialID, f.Credential, millis(f.CreatedAt), millis(f.LastUsedAt))
		if isUnique(err) {
			return mfa.ErrExists
		}
		if err != nil {
			return fmt.Errorf("insert factor: %w", err)
		}
		if len(recovery) > 0 {
			if err := t.setRecoveryCodes(f.Person, recovery, f.CreatedAt); err != nil {
				return err
			}
		}
		return t.record(events...)
	})
}

// RenameFactor implements mfa.Store.
func (db *DB) RenameFactor(ctx context.Context, person org.PersonID, id mfa.ID, name string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE factors SET name = $1 WHERE id = $2 AND person_id = $3", name, string(id), string(person))
		if err != nil {
			return fmt.Errorf("rename factor: %w", err)
		}
		if n == 0 {
			return mfa.ErrNotFound
		}
		return t.record(ev)
	})
}

// RemoveFactor implements mfa.Store.
func (db *DB) RemoveFactor(ctx context.Context, person org.PersonID, id mfa.ID, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("DELETE FROM factors WHERE id = $1 AND person_id = $2", string(id), string(person))
		if err != nil {
			return fmt.Errorf("remove factor: %w", err)
		}
		if n == 0 {
			return mfa.ErrNotFound
		}
		if _, err := t.exec(`DELETE FROM recovery_codes WHERE person_id = $1
			AND NOT EXISTS (SELECT 1 FROM factors WHERE factors.person_id = $1)`, string(person)); err != nil {
			return fmt.Errorf("remove recovery codes: %w", err)
		}
		return t.record(ev)
	})
}

// ResetFactors implements mfa.Store.
func (db *DB) ResetFactors(ctx context.Context, person org.PersonID, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		for _, text := range []string{
			"DELETE FROM factors WHERE person_id = $1",
			"DELETE FROM recovery_codes WHERE person_id = $1",
			"DELETE FROM sessions WHERE person_id = $1",
		} {
			if _, err := t.exec(text, string(person)); err != nil {
				return fmt.Errorf("reset factors: %w", err)
			}
		}
		return t.record(ev)
	})
}

// TakeStep implements mfa.Store.
func (db *DB) TakeStep(ctx context.Context, id mfa.ID, step int64, at time.Time) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE factors SET last_step = $1, last_used_at = $2 WHERE id = $3 AND last_step < $1", step, millis(at), string(id))
		if err != nil {
			return fmt.Errorf("take time step: %w", err)
		}
		if n == 0 {
			return mfa.ErrCodeUsed
		}
		return nil
	})
}

// TakeAssertion implements mfa.Store.
func (db *DB) TakeAssertion(ctx context.Context, id mfa.ID, credential string, c mfa.Challenge, at time.Time, events ...audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec("INSERT INTO used_challenges (challenge, expires_at) VALUES ($1, $2)", c.Text, millis(c.ExpiresAt))
		if isUnique(err) {
			return mfa.ErrPasskey
		}
		if err != nil {
			return fmt.Errorf("use challenge: %w", err)
		}
		n, err := t.exec(`UPDATE factors SET credential = $1, last_used_at = CASE WHEN CAST($2 AS BIGINT) = 0 THEN last_used_at ELSE CAST($2 AS BIGINT) END WHERE id = $3`,
			credential, millis(at), string(id))
		if err != nil {
			return fmt.Errorf("note use of passkey: %w", err)
		}
		if n == 0 {
			return mfa.ErrPasskey
		}
		return t.record(events...)
	})
}

func (t *tx) setRecoveryCodes(person org.PersonID, hashes []string, at time.Time) error {
	if _, err := t.exec("DELETE FROM recovery_codes WHERE person_id = $1", string(person)); err != nil {
		return fmt.Errorf("replace recovery codes: %w", err)
	}
	for _, h := range hashes {
		if _, err := t.exec("INSERT INTO recovery_codes (person_id, hash, created_at, used_at) VALUES ($1, $2, $3, 0)", string(person), h, millis(at)); err != nil {
			return fmt.Errorf("insert recovery code: %w", err)
		}
	}
	return nil
}

// SetRecoveryCodes implements mfa.Store.
func (db *DB) SetRecoveryCodes(ctx context.Context, person org.PersonID, hashes []string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.setRecoveryCodes(person, hashes, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// UseRecoveryCode implements mfa.Store.
func (db *DB) UseRecoveryCode(ctx context.Context, person org.PersonID, hash string, ev audit.Event) (int, error) {
	var left int
	err := db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE recovery_codes SET used_at = $1 WHERE person_id = $2 AND hash = $3 AND used_at = 0", millis(ev.At), string(person), hash)
		if err != nil {
			return fmt.Errorf("use recovery code: %w", err)
		}
		if n == 0 {
			return mfa.ErrRecoveryCode
		}
		if err := t.QueryRow(countRecoveryCodes, string(person)).Scan(&left); err != nil {
			return fmt.Errorf("count recovery codes: %w", err)
		}
		ev.Detail = fmt.Sprintf("%d left", left)
		return t.record(ev)
	})
	return left, err
}

const countRecoveryCodes = "SELECT count(*) FROM recovery_codes WHERE person_id = $1 AND used_at = 0"

// RecoveryCodes implements mfa.Store.
func (db *DB) RecoveryCodes(ctx context.Context, person org.PersonID) (int, error) {
	var left int
	if err := db.read.QueryRowContext(ctx, countRecoveryCodes, string(person)).Scan(&left); err != nil {
		return 0, fmt.Errorf("count recovery codes: %w", err)
	}
	return left, nil
}

// SweepChallenges forgets used challenges that have expired.
func (db *DB) SweepChallenges(ctx context.Context, now time.Time) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec("DELETE FROM used_challenges WHERE expires_at < $1", millis(now)); err != nil {
			return fmt.Errorf("sweep challenges: %w", err)
		}
		return nil
	})
}

// organizationMFA is what the organization demands, as a column. It is read as
// text: one that is not known is met by nobody.
const organizationMFA = "COALESCE((SELECT mfa FROM mfa_policies WHERE mfa_policies.team_id = ''), 'optional')"

// MFA implements org.Store.
func (db *DB) MFA(ctx context.Context, team org.TeamID) (org.MFA, error) {
	var m org.MFA
	err := db.read.QueryRowContext(ctx, "SELECT COALESCE((SELECT mfa FROM mfa_policies WHERE team_id = $1), 'optional')", string(team)).Scan(&m)
	if err != nil {
		return "", fmt.Errorf("read policy: %w", err)
	}
	return m, nil
}

// SetMFA implements org.Store.
func (db *DB) SetMFA(ctx context.Context, team org.TeamID, m org.MFA, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO mfa_policies (team_id, mfa) VALUES ($1, $2)
			ON CONFLICT (team_id) DO UPDATE SET mfa = excluded.mfa`, string(team), string(m)); err != nil {
			return fmt.Errorf("set policy: %w", err)
		}
		id := string(team)
		if id == "" {
			id = access.AnyTeam
		}
		if err := t.change(access.PolicyChanged, id, ev.At); err != nil {
			return err
		}
		return t.record(ev)
	})
}

// ChangePassword implements login.Store.
func (db *DB) ChangePassword(ctx context.Context, person org.PersonID, hash, keep string, ev audit.Event) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec("UPDATE people SET password_hash = $1 WHERE id = $2", hash, string(person))
		if err != nil {
			return fmt.Errorf("change password: %w", err)
		}
		if n == 0 {
			return org.ErrPersonNotFound
		}
		if _, err := t.exec("DELETE FROM sessions WHERE person_id = $1 AND hash <> $2", string(person), keep); err != nil {
			return fmt.Errorf("end other sessions: %w", err)
		}
		if _, err := t.exec("DELETE FROM account_links WHERE person_id = $1", string(person)); err != nil {
			return fmt.Errorf("withdraw account link: %w", err)
		}
		return t.record(ev)
	})
}
