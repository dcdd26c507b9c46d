-- +goose Up

-- A SAML provider is asked to end a session under the name that it gave the
-- person, with the format and the qualifiers of that name ('' where it had
-- none); subject and sid are the name itself and the SessionIndex.
ALTER TABLE provider_sign_ins ADD COLUMN name_format TEXT NOT NULL DEFAULT '';
ALTER TABLE provider_sign_ins ADD COLUMN name_qualifier TEXT NOT NULL DEFAULT '';
ALTER TABLE provider_sign_ins ADD COLUMN sp_name_qualifier TEXT NOT NULL DEFAULT '';
