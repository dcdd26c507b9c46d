package spec

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestRFC6749_5_2_DescriptionCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":             "plain text",
		`say "hi" \ bye`:         "say 'hi' / bye",
		"a\r\nSet-Cookie: b\tc":  "a  Set-Cookie: b c",
		"é\x00\x7f😀":             "????",
		strings.Repeat("x", 500): strings.Repeat("x", maxDescriptionBytes),
	} {
		if got := Describe(in); got != want {
			t.Errorf("Describe(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestRFC6749_5_2_ErrorBody(t *testing.T) {
	for _, tc := range []struct {
		err    *Error
		status int
		body   string
	}{
		{NewError(InvalidGrant, "gone"), 400, `{"error":"invalid_grant","error_description":"gone"}`},
		{NewError(InvalidClient, ""), 401, `{"error":"invalid_client"}`},
		{NewError(InvalidToken, ""), 401, `{"error":"invalid_token"}`},
		{NewError(InsufficientScope, ""), 403, `{"error":"insufficient_scope"}`},
		{NewError(TemporarilyUnavailable, ""), 503, `{"error":"temporarily_unavailable"}`},
		{NewError(ServerError, ""), 500, `{"error":"server_error"}`},
		{Errorf(InvalidRequest, "no %d", 7).WithStatus(413), 413, `{"error":"invalid_request","error_description":"no 7"}`},
	} {
		b, err := json.Marshal(tc.err)
		if err != nil || string(b) != tc.body || tc.err.Status != tc.status {
			t.Errorf("got %s, status %d, %v; want %s, %d", b, tc.err.Status, err, tc.body, tc.status)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	const text = "correct-horse"
	type holder struct{ S Secret }
	h := holder{Secret(text)}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", h.S, "h", h)
	b, _ := json.Marshal(h)
	for _, got := range []string{
		fmt.Sprint(h.S), fmt.Sprintf("%v %+v %#v %s %q", h, h, h, h.S, h.S), log.String(), string(b),
	} {
		if strings.Contains(got, text) {
			t.Errorf("the secret shows: %s", got)
		}
	}
}
