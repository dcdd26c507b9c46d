-- +goose Up

-- Tokens of identity providers that provision.
CREATE TABLE scim_tokens (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         TEXT NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    revoked_at   BIGINT NOT NULL
);

-- What providers call people. Who has no row here was made by hand, and is
-- called by their e-mail address.
CREATE TABLE scim_users (
    person_id     TEXT PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    user_name     TEXT NOT NULL,
    -- In lower case: names that differ in case are the same.
    user_name_key TEXT NOT NULL UNIQUE,
    external_id   TEXT NOT NULL,
    given_name    TEXT NOT NULL,
    family_name   TEXT NOT NULL,
    modified_at   BIGINT NOT NULL
);
CREATE INDEX scim_users_by_external_id ON scim_users (external_id);
