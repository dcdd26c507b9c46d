-- +goose Up

-- Identity providers that people of the organization sign in at. settings is
-- JSON; sealed holds the client secret or the SAML key, encrypted.
CREATE TABLE identity_providers (
    id         TEXT PRIMARY KEY,
    slug       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    settings   TEXT NOT NULL,
    sealed     BLOB NOT NULL,
    enabled    INTEGER NOT NULL,
    created_at BIGINT NOT NULL
);

-- The e-mail domains of a provider. A domain belongs to one provider.
CREATE TABLE provider_domains (
    domain      TEXT PRIMARY KEY,
    provider_id TEXT NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    sso_only    INTEGER NOT NULL
);
CREATE INDEX provider_domains_by_provider ON provider_domains (provider_id);

-- Which group of a provider gives which role in which team.
CREATE TABLE provider_groups (
    provider_id TEXT NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    group_name  TEXT NOT NULL,
    team_id     TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    role        TEXT NOT NULL,
    PRIMARY KEY (provider_id, group_name, team_id, role)
);

-- Who somebody at a provider is here.
CREATE TABLE linked_identities (
    provider_id TEXT NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    subject     TEXT NOT NULL,
    person_id   TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (provider_id, subject)
);
CREATE INDEX linked_identities_by_person ON linked_identities (person_id);

-- The roles that a mapping gave, so that it can take them again. A role that
-- an administrator set is not in here.
CREATE TABLE given_roles (
    provider_id TEXT NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    person_id   TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    team_id     TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    role        TEXT NOT NULL,
    PRIMARY KEY (provider_id, person_id, team_id, role)
);
CREATE INDEX given_roles_by_person ON given_roles (person_id, team_id);

-- Sign-ins that came from a provider. They outlive their browser session as
-- long as a grant that was made from them lives, which has the person and the
-- moment in common with them.
CREATE TABLE provider_sign_ins (
    session_hash TEXT PRIMARY KEY,
    provider_id  TEXT NOT NULL REFERENCES identity_providers (id) ON DELETE CASCADE,
    subject      TEXT NOT NULL,
    sid          TEXT NOT NULL,
    person_id    TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    auth_time    BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    id_token     BLOB NOT NULL
);
CREATE INDEX provider_sign_ins_by_subject ON provider_sign_ins (provider_id, subject);

-- Logout tokens and assertions of providers that were used, until they
-- expire.
CREATE TABLE used_provider_tokens (
    hash       TEXT PRIMARY KEY,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_provider_tokens_by_expiry ON used_provider_tokens (expires_at);

-- Somebody who may sign in with a password where the domain does not let
-- anybody, so that nobody is locked out when a provider is.
ALTER TABLE people ADD COLUMN break_glass INTEGER NOT NULL DEFAULT 0;
