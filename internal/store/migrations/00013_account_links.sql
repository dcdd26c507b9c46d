-- +goose Up

-- Links with which people choose a password: one for each person, good once.
-- hash is that of the token (SHA-256, hexadecimal).
CREATE TABLE account_links (
    person_id  TEXT PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    hash       TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- When and how people signed in, or tried to.
CREATE INDEX audit_sign_ins ON audit (target, kind, at) WHERE kind IN ('session.started', 'session.refused');
