package oauth

import (
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// tooWeak says whether the team demands more than a sign-in had. The grant
// would be refused from its first call on (grant.Standing.Verdict).
func (t knownTeam) tooWeak(session login.Session) bool { return !t.mfa.MetBy(session.AMR) }

// stepUpInWords says what will be asked for, "" for nothing.
func (t knownTeam) stepUpInWords(session login.Session) string {
	switch {
	case !t.tooWeak(session):
		return ""
	case t.mfa == org.MFAPasskey:
		return "This team demands a passkey. You are asked for it next, or set one up."
	default:
		return "This team demands a second factor. You are asked for it next, or set one up."
	}
}

// stepUp sends the person for what their sign-in lacks for a team. They come
// back to the request, which counts as one that has led to a sign-in since the
// moment it demanded one.
func (s *Server) stepUp(w http.ResponseWriter, r *http.Request, auth authorization, team knownTeam, since time.Time) error {
	step := reauthStep{Of: hashOfRequest(auth.query)}
	if !since.IsZero() {
		step.Since = since.UnixMilli()
	}
	back := cloneValues(auth.query)
	back.Set(reauthParam, s.Desk.Steps.Sign(purposeReauth, step, interactionLifetime))
	http.Redirect(w, r, s.Desk.StepUpURL(spec.AuthorizePath+"?"+back.Encode(), team.mfa), http.StatusSeeOther)
	return nil
}
