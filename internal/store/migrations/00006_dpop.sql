-- +goose Up
-- The key that a code, or a public client's refresh tokens, are bound to: its
-- SHA-256 thumbprint (RFC 9449), '' for none.
ALTER TABLE grants ADD COLUMN dpop_jkt TEXT NOT NULL DEFAULT '';
ALTER TABLE codes ADD COLUMN dpop_jkt TEXT NOT NULL DEFAULT '';
