-- +goose Up
-- A program that acts by itself has an account that nobody can sign in with,
-- and a client bound to it.
ALTER TABLE people ADD COLUMN service BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE clients ADD COLUMN service_person TEXT NOT NULL DEFAULT '';
