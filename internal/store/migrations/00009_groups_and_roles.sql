-- +goose Up

-- Groups of people, for the whole organization. A group gives its members
-- roles in teams; external_id is the name under which an identity provider
-- knows the group, '' for none. version counts changes of the group itself.
CREATE TABLE people_groups (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    external_id TEXT NOT NULL,
    version     BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX people_groups_by_external_id ON people_groups (external_id) WHERE external_id <> '';

CREATE TABLE group_members (
    group_id  TEXT NOT NULL REFERENCES people_groups (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, person_id)
);
CREATE INDEX group_members_by_person ON group_members (person_id);

CREATE TABLE group_roles (
    group_id TEXT NOT NULL REFERENCES people_groups (id) ON DELETE CASCADE,
    team_id  TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
    roles    TEXT NOT NULL,
    PRIMARY KEY (group_id, team_id)
);
CREATE INDEX group_roles_by_team ON group_roles (team_id);

-- Custom roles that every team has. hidden_fields is a list of field names;
-- look_back is in milliseconds, 0 for no bound.
CREATE TABLE organization_roles (
    name          TEXT PRIMARY KEY,
    permissions   TEXT NOT NULL,
    data_scope    TEXT NOT NULL,
    hidden_fields TEXT NOT NULL,
    look_back     BIGINT NOT NULL
);
ALTER TABLE roles ADD COLUMN hidden_fields TEXT NOT NULL DEFAULT '[]';
ALTER TABLE roles ADD COLUMN look_back BIGINT NOT NULL DEFAULT 0;
