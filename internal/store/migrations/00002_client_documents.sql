-- +goose Up
-- The last good copies of client ID metadata documents.
CREATE TABLE client_documents (
    url           TEXT PRIMARY KEY,
    body          BLOB NOT NULL,
    etag          TEXT NOT NULL,
    last_modified TEXT NOT NULL,
    fetched_at    BIGINT NOT NULL,
    fresh_until   BIGINT NOT NULL
);

-- The hosts that a client belongs to: of its document, or of its redirect
-- URIs on the web. A block of a host concerns them all.
CREATE TABLE client_hosts (
    client_key TEXT NOT NULL REFERENCES clients (key) ON DELETE CASCADE,
    host       TEXT NOT NULL,
    PRIMARY KEY (client_key, host)
);
