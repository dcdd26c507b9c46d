-- +goose Up

-- Device authorizations (RFC 8628). Neither code is kept: hash is the SHA-256
-- of the device code, user_hash a MAC of the user code, which is too short
-- for a plain hash.
CREATE TABLE device_codes (
    hash        TEXT PRIMARY KEY,
    user_hash   TEXT NOT NULL UNIQUE,
    client_id   TEXT NOT NULL,
    resource    TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    address     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    wait        BIGINT NOT NULL,
    polled_at   BIGINT NOT NULL,
    grant_id    TEXT NOT NULL,
    denied_at   BIGINT NOT NULL,
    redeemed_at BIGINT NOT NULL
);
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
CREATE INDEX device_codes_by_address ON device_codes (address, created_at);

-- Identity providers whose assertions are taken (RFC 7523).
CREATE TABLE trusted_issuers (
    issuer     TEXT PRIMARY KEY,
    jwks_uri   TEXT NOT NULL,
    audience   TEXT NOT NULL,
    teams      TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Assertions that were used, until they expire.
CREATE TABLE used_assertions (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_at);

-- A key is published from created_at and signs from active_at; 0 stands for
-- created_at.
ALTER TABLE signing_keys ADD COLUMN alg TEXT NOT NULL DEFAULT 'ES256';
ALTER TABLE signing_keys ADD COLUMN active_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX audit_by_time ON audit (at);
