-- +goose Up
-- How often connections must come back, and how; team_id is '' for the
-- organization, '' and 0 stand for "not set". sign_in_age is in milliseconds.
CREATE TABLE reconnect_policies (
    team_id     TEXT PRIMARY KEY,
    disconnect  TEXT NOT NULL,
    reconnect   TEXT NOT NULL,
    sign_in_age BIGINT NOT NULL
);
