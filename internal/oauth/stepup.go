package oauth

import (
	"net/http"
	"time"

	"github.com/orielhq/oriel/internal/login"
	"github.com/orielhq/oriel/internal/oauth/spec"
	"github.com/orielhq/oriel/internal/org"
)

// tooWeak says whether the team demands more than a sign-in had, or a later
// one. The grant would be refused from its first call on
// (grant.Standing.Verdict).
func (s *Server) tooWeak(t knownTeam, session login.Session) bool {
	return !t.mfa.MetBy(session.AMR) || t.lifetimes.SignInTooOld(session.AuthTime, s.Now())
}

// stepUpInWords says what will be asked for, "" for nothing.
func (s *Server) stepUpInWords(t knownTeam, session login.Session) string {
	switch {
	case !s.tooWeak(t, session):
		return ""
	case t.mfa.MetBy(session.AMR):
		return "You signed in too long ago for this team. You are asked to sign in again next."
	case t.mfa == org.MFAPasskey:
		return "This team demands a passkey. You are asked for it next, or set one up."
	default:
		return "This team demands a second factor. You are asked for it next, or set one up."
	}
}

// stepUp sends the person for what their sign-in lacks for a team. They come
// back to the request, which counts as one that has led to a sign-in since the
// moment it demanded one.
func (s *Server) stepUp(w http.ResponseWriter, r *http.Request, auth authorization, session login.Session, team knownTeam, since time.Time) error {
	step := reauthStep{Of: hashOfRequest(auth.query)}
	if !since.IsZero() {
		step.Since = since.UnixMilli()
	}
	back := cloneValues(auth.query)
	if team.lifetimes.SignInTooOld(session.AuthTime, s.Now()) {
		// A factor more makes a sign-in stronger, not younger.
		step.Since = s.Now().UnixMilli()
		back.Set(reauthParam, s.Desk.Steps.Sign(purposeReauth, step, interactionLifetime))
		http.Redirect(w, r, s.Desk.SignInURL(spec.AuthorizePath+"?"+back.Encode(),
			login.SignInOptions{Reauthenticate: true, LoginHint: session.Person.Email, Need: team.mfa}), http.StatusSeeOther)
		return nil
	}
	back.Set(reauthParam, s.Desk.Steps.Sign(purposeReauth, step, interactionLifetime))
	http.Redirect(w, r, s.Desk.StepUpURL(spec.AuthorizePath+"?"+back.Encode(), team.mfa), http.StatusSeeOther)
	return nil
}
