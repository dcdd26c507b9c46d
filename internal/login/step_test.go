package login

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

var testKey = bytes.Repeat([]byte{7}, 32)

type payload struct {
	A string `json:"a"`
	N int    `json:"n"`
}

func newTestSteps(t testing.TB, now *time.Time) *Steps {
	t.Helper()
	s, err := NewSteps(testKey, func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSteps(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	s := newTestSteps(t, &now)
	want := payload{A: "/x?a=b&c=ü", N: 3}
	token := s.Sign("one", want, time.Minute)
	var got payload
	if err := s.Open("one", token, &got); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		t.Errorf("%q is not URL-safe", token)
	}
	body, sum, _ := strings.Cut(token, ".")
	for name, bad := range map[string]string{
		"empty": "", "no sum": body, "empty sum": body + ".", "padding": token + "=", "line break": body + "\n." + sum,
		"twice": token + "." + sum, "cut": token[:len(token)-1], "other body": "e" + body[1:] + "x." + sum,
		// The last character holds two bits that decode to nothing.
		"loose bits": token[:len(token)-1] + string(token[len(token)-1]+1),
	} {
		if err := s.Open("one", bad, &got); !errors.Is(err, ErrStepInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Open("two", token, &got); !errors.Is(err, ErrStepInvalid) {
		t.Errorf("another purpose: %v", err)
	}
	other, err := NewSteps(bytes.Repeat([]byte{8}, 32), s.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Open("one", token, &got); !errors.Is(err, ErrStepInvalid) {
		t.Errorf("another key: %v", err)
	}
	now = now.Add(time.Minute)
	if err := s.Open("one", token, &got); !errors.Is(err, ErrStepExpired) {
		t.Errorf("after its time: %v", err)
	}
	if _, err := NewSteps(testKey[:31], s.now); err == nil {
		t.Error("a short key is accepted")
	}
}

// FuzzStepToken: only what we made is accepted, for its purpose, in its only
// spelling.
func FuzzStepToken(f *testing.F) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)
	s := newTestSteps(f, &now)
	made := s.Sign("one", payload{A: "/"}, time.Minute)
	for _, seed := range []string{
		made, made + "=", made + "\n", " " + made, strings.Replace(made, ".", "..", 1), strings.ToUpper(made), "", ".", "e30.", "e30.e30",
		s.Sign("two", payload{A: "/"}, time.Minute),
	} {
		f.Add("one", seed)
		f.Add("two", seed)
	}
	f.Fuzz(func(t *testing.T, purpose, token string) {
		var got payload
		err := s.Open(purpose, token, &got)
		known := token == made && purpose == "one" || purpose == "two" && token == s.Sign("two", payload{A: "/"}, time.Minute)
		if (err == nil) != known {
			t.Errorf("Open(%q, %q) = %v", purpose, token, err)
		}
	})
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/", "/a?b=c", "//evil", "/\\evil", "https://evil", "/\t/evil", "javascript:x", "", "/%2f/evil", "/a//b", "/..//evil"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isLocalPath(s) {
			return
		}
		// What a browser makes of it: it drops tabs and line breaks, and takes
		// a backslash for a slash.
		b := strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(s)
		if !strings.HasPrefix(b, "/") || strings.HasPrefix(b, "//") {
			t.Errorf("%q leads elsewhere", s)
		}
	})
}
