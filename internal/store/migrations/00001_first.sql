-- +goose Up
-- Times are Unix milliseconds; 0 stands for "never". Lists are JSON arrays.

CREATE TABLE people (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    owner         INTEGER NOT NULL,
    password_hash TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT NOT NULL
);

CREATE TABLE teams (
    id         TEXT PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    tenant     BIGINT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- Custom roles; the built-in ones are in the code.
CREATE TABLE roles (
    team_id     TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    permissions TEXT NOT NULL,
    data_scope  TEXT NOT NULL,
    PRIMARY KEY (team_id, name)
);

CREATE TABLE members (
    team_id   TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    roles     TEXT NOT NULL,
    PRIMARY KEY (team_id, person_id)
);
CREATE INDEX members_by_person ON members (person_id);

CREATE TABLE ingest_keys (
    id         TEXT PRIMARY KEY,
    team_id    TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    hash       TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    hash         TEXT PRIMARY KEY,
    person_id    TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    auth_time    BIGINT NOT NULL,
    amr          TEXT NOT NULL,
    acr          TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_person ON sessions (person_id);

-- At most one row: the link that creates the first owner.
CREATE TABLE setup_links (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);

-- Clients that somebody consented to, or that were registered beforehand.
CREATE TABLE clients (
    key         TEXT PRIMARY KEY,
    client_id   TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    product     TEXT NOT NULL,
    metadata    TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE blocked_products (
    product    TEXT PRIMARY KEY,
    blocked_at BIGINT NOT NULL
);

CREATE TABLE grants (
    id           TEXT PRIMARY KEY,
    person_id    TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    client_key   TEXT NOT NULL REFERENCES clients (key),
    team_id      TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    resource     TEXT NOT NULL,
    scopes       TEXT NOT NULL,
    auth_time    BIGINT NOT NULL,
    amr          TEXT NOT NULL,
    acr          TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    redeemed_at  BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL,
    end_reason   TEXT NOT NULL,
    generation   BIGINT NOT NULL,
    superseded   TEXT NOT NULL
);
CREATE INDEX grants_by_person ON grants (person_id);
CREATE INDEX grants_by_client ON grants (client_key);

CREATE TABLE codes (
    hash           TEXT PRIMARY KEY,
    grant_id       TEXT NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    redirect_uri   TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    nonce          TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    used_at        BIGINT NOT NULL
);
CREATE INDEX codes_by_grant ON codes (grant_id);

CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    created_at BIGINT NOT NULL,
    sealed     BLOB NOT NULL
);

CREATE TABLE audit (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id   TEXT NOT NULL,
    address    TEXT NOT NULL,
    kind       TEXT NOT NULL,
    target     TEXT NOT NULL,
    team       TEXT NOT NULL,
    detail     TEXT NOT NULL
);
CREATE INDEX audit_by_target ON audit (target);

-- The change feed: what package access must look at again. Written in the
-- transaction that makes the change.
CREATE TABLE changes (
    seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL,
    at   BIGINT NOT NULL
);

-- Settings that belong to the installation itself, such as the team that
-- receives Oriel's own logs.
CREATE TABLE installation (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
