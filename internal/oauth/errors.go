package oauth

import (
	"errors"
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/grant"
	"github.com/orielhq/oriel/internal/oauth/clientdoc"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/web"
)

// retryAfter is what a client is told to wait when the fault is ours.
const retryAfter = 2 * time.Second

// invalidGrants are the errors of package grant that mean that a code or a
// refresh token is of no use any more. Whatever is missing here counts as our
// own fault, which no client takes for the end of its connection.
var invalidGrants = []error{
	grant.ErrCodeUnknown, grant.ErrCodeMismatch, grant.ErrCodeUsed,
	grant.ErrTokenUnknown, grant.ErrTokenMismatch, grant.ErrTokenReused, grant.ErrReconnect, grant.ErrKey, grant.ErrNotFound,
}

// oauthError says how an endpoint for clients answers an error (RFC 6749
// §5.2).
func oauthError(err error) *spec.Error {
	// First, since its cause may be an error of package spec, which is about
	// the document and not about the request.
	if document, ok := errors.AsType[*clientdoc.Error](err); ok {
		return documentError(document)
	}
	if e, ok := errors.AsType[*spec.Error](err); ok {
		return e
	}
	if errors.Is(err, grant.ErrBlocked) {
		// The client was let in from memory before its block was heard of.
		return errBlocked()
	}
	if ended, ok := errors.AsType[*grant.EndedError](err); ok {
		return spec.NewError(spec.InvalidGrant, ended.Reason)
	}
	for _, known := range invalidGrants {
		if errors.Is(err, known) {
			return spec.NewError(spec.InvalidGrant, known.Error())
		}
	}
	switch {
	case errors.Is(err, grant.ErrScope):
		return spec.NewError(spec.InvalidScope, grant.ErrScope.Error())
	case errors.Is(err, grant.ErrTarget):
		return spec.NewError(spec.InvalidTarget, grant.ErrTarget.Error())
	}
	return spec.NewError(spec.TemporarilyUnavailable, "the server cannot answer right now, please try again")
}

// answer turns an error of an endpoint for clients into what package web
// writes. A client must never take a fault of ours for the end of its
// connection, so those are 503 with a time to try again.
func answer(w http.ResponseWriter, r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*web.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	e := oauthError(err)
	out := &web.Error{Status: e.Status, Code: e.Code, Public: e.Description, Cause: err}
	switch {
	case e.Status >= http.StatusInternalServerError:
		out.RetryAfter = retryAfter
	case e.Status == http.StatusUnauthorized && e.Code == spec.InvalidClient && r.Header.Get("Authorization") != "":
		// RFC 6749 §5.2: only to a client that came with the header.
		w.Header().Set("WWW-Authenticate", spec.BasicChallenge)
	}
	return out
}
