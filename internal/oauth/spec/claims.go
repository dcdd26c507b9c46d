package spec

import (
	"encoding/json"
	"errors"
)

// maxClaimsBytes bounds the claims parameter, and maxClaimValues what one claim may be asked to be.
const (
	maxClaimsBytes = 4096
	maxClaimValues = 32
)

// ClaimsRequest is what of a claims parameter changes an authorization (OpenID Connect Core §5.5). Everything else in it
// is voluntary or unknown, and is left to the scopes.
type ClaimsRequest struct {
	// Subject is the person whom the answer must be about; empty when anyone will do.
	Subject string
	// ACR are the authentication context classes of which the sign-in must have one; empty when any will do.
	ACR []string
}

// individualClaim is how one claim is asked for (§5.5.1).
type individualClaim struct {
	essential bool
	values    []string // text values of value and values
	valued    bool     // value or values was given
}

// ParseClaims reads a claims parameter; an empty one asks for nothing. Errors are *Error with invalid_request.
func ParseClaims(s string) (ClaimsRequest, error) {
	if s == "" {
		return ClaimsRequest{}, nil
	}
	r, err := parseClaims(s)
	if err != nil {
		return ClaimsRequest{}, Errorf(InvalidRequest, "claims %v", err)
	}
	return r, nil
}

func parseClaims(s string) (ClaimsRequest, error) {
	if len(s) > maxClaimsBytes {
		return ClaimsRequest{}, errors.New("is longer than 4096 bytes")
	}
	top, err := parseMembers([]byte(s))
	if err != nil {
		return ClaimsRequest{}, errors.New("is not a JSON object with each name once")
	}
	var r ClaimsRequest
	for _, part := range []string{"userinfo", "id_token"} {
		if !top.has(part) || string(top[part]) == "null" {
			continue
		}
		ms, err := parseMembers(top[part])
		if err != nil {
			return ClaimsRequest{}, errors.New("has a member " + part + " that is not an object")
		}
		for name, raw := range ms {
			c, err := parseIndividualClaim(raw)
			if err != nil {
				return ClaimsRequest{}, err
			}
			switch {
			// §3.1.2.2: a subject that is asked for by value binds, essential or not.
			case name == "sub" && c.valued:
				if len(c.values) != 1 || (r.Subject != "" && r.Subject != c.values[0]) {
					return ClaimsRequest{}, errors.New("must ask for one sub")
				}
				r.Subject = c.values[0]
			// §5.5.1.1: an essential acr with values must be met. auth_time is in every ID token.
			case name == "acr" && part == "id_token" && c.essential && c.valued:
				if len(c.values) == 0 {
					return ClaimsRequest{}, errors.New("must ask for acr by text values")
				}
				r.ACR = c.values
			}
		}
	}
	return r, nil
}

// parseIndividualClaim reads null or an object with essential, value and values.
func parseIndividualClaim(raw json.RawMessage) (individualClaim, error) {
	if string(raw) == "null" {
		return individualClaim{}, nil
	}
	ms, err := parseMembers(raw)
	if err != nil {
		return individualClaim{}, errors.New("has a claim that is neither null nor an object")
	}
	c := individualClaim{valued: ms.has("value") || ms.has("values")}
	if ms.has("essential") && json.Unmarshal(ms["essential"], &c.essential) != nil {
		return individualClaim{}, errors.New("has an essential that is neither true nor false")
	}
	values := []json.RawMessage{ms["value"]}
	if ms.has("values") {
		var list []json.RawMessage
		if json.Unmarshal(ms["values"], &list) != nil || len(list) > maxClaimValues {
			return individualClaim{}, errors.New("has values that are not a short array")
		}
		values = append(values, list...)
	}
	for _, v := range values {
		var text *string
		if v != nil && json.Unmarshal(v, &text) == nil && text != nil {
			c.values = append(c.values, *text)
		}
	}
	return c, nil
}
