-- +goose Up
-- Whether the keys of an identity provider may be at a private address.
ALTER TABLE trusted_issuers ADD COLUMN private BOOLEAN NOT NULL DEFAULT FALSE;
