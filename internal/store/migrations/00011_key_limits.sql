-- +goose Up
-- What an ingest key may send: words of logs, spans and metrics with commas
-- between them, '' for all; and how many bytes a second, 0 for any.
ALTER TABLE ingest_keys ADD COLUMN signals TEXT NOT NULL DEFAULT '';
ALTER TABLE ingest_keys ADD COLUMN bytes_per_second BIGINT NOT NULL DEFAULT 0;
