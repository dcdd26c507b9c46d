-- +goose Up
-- A team's connections, the registrations of one app, and codes to sweep are
-- found without reading everybody's.
CREATE INDEX grants_by_team ON grants (team_id);
CREATE INDEX clients_by_product ON clients (product);
CREATE INDEX codes_by_expiry ON codes (expires_at);
