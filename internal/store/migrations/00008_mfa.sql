-- +goose Up
-- Second factors. secret is sealed with a key of the master key's; credential
-- is the public part of a passkey, as JSON.
CREATE TABLE factors (
    id            TEXT PRIMARY KEY,
    person_id     TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    name          TEXT NOT NULL,
    secret        TEXT NOT NULL,
    last_step     BIGINT NOT NULL,
    credential_id TEXT NOT NULL,
    credential    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    last_used_at  BIGINT NOT NULL
);
CREATE INDEX factors_by_person ON factors (person_id);
CREATE UNIQUE INDEX factors_by_credential ON factors (credential_id) WHERE credential_id <> '';

CREATE TABLE recovery_codes (
    person_id  TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    hash       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    PRIMARY KEY (person_id, hash)
);

-- Challenges that were answered and have not expired: each is good once.
CREATE TABLE used_challenges (
    challenge  TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- What sign-ins must have had; team_id is '' for the organization.
CREATE TABLE mfa_policies (
    team_id TEXT PRIMARY KEY,
    mfa     TEXT NOT NULL
);

-- A session that lacks a factor is none yet.
ALTER TABLE sessions ADD COLUMN partial INTEGER NOT NULL DEFAULT 0;
