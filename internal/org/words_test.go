package org_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/orielhq/oriel/internal/org"
)

func TestParseEmail(t *testing.T) {
	for in, want := range map[string]string{
		"ada@example.com":            "ada@example.com",
		"  Ada@Example.COM\n":        "ada@example.com",
		"o'hara+oriel@example.co.uk": "o'hara+oriel@example.co.uk",
		"u\u0308mit@example.com":     "\u00fcmit@example.com", // the same letter, composed
	} {
		if got, err := org.ParseEmail(in); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "   ", "ada", "ada@", "@example.com", "ada@example.com, bob@example.com", "Ada <ada@example.com>", "<ada@example.com>",
		"ada@exa mple.com", "ada@example.com\x00", "a\r\nBcc: b@example.com", "ada@example.com (comment)",
		strings.Repeat("a", 250) + "@example.com",
	} {
		if got, err := org.ParseEmail(in); err == nil {
			t.Errorf("%q is accepted as %q", in, got)
		}
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, s := range []string{"ada@example.com", " A@B ", "\"a b\"@example.com", "a@[127.0.0.1]", "ÄÖ@exämple.de", "İ@example.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := org.ParseEmail(s)
		if err != nil {
			return
		}
		// The stored form is the one that is found again.
		if again, err := org.ParseEmail(e); err != nil || again != e {
			t.Errorf("%q gives %q, which gives %q, %v", s, e, again, err)
		}
		if strings.ContainsAny(e, "\r\n\x00") {
			t.Errorf("%q holds control characters", e)
		}
	})
}

func TestParseSlug(t *testing.T) {
	for _, s := range []string{"a", "7", "web-shop", "a--b", strings.Repeat("a", 40)} {
		if got, err := org.ParseSlug(s); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-a", "a-", "Web", "a_b", "a b", "a/b", "../a", "ä", "a\n", strings.Repeat("a", 41)} {
		if got, err := org.ParseSlug(s); err == nil {
			t.Errorf("%q is accepted as %q", s, got)
		}
	}
}

func TestParseRoleName(t *testing.T) {
	for _, s := range []string{"a", "on-call", "on_call", strings.Repeat("a", 40)} {
		if got, err := org.ParseRoleName(s); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	// A comma would become two roles in "oriel member set --role".
	for _, s := range []string{"", "-a", "a_", "A", "a,b", "a b", "a\n", strings.Repeat("a", 41)} {
		if got, err := org.ParseRoleName(s); err == nil {
			t.Errorf("%q is accepted as %q", s, got)
		}
	}
}

func TestParsePermissions(t *testing.T) {
	got, err := org.ParsePermissions(" logs:Read,team:Admin , logs:Read,,")
	if err != nil || !slices.Equal(got, []org.Permission{org.LogsRead, org.TeamAdmin}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := org.ParsePermissions(""); err != nil || len(got) != 0 {
		t.Errorf("nothing: %v, %v", got, err)
	}
	for _, s := range []string{"logs:read", "logs", "logs:Write", "*", "logs:Read metrics:Read", "logs:Read,everything"} {
		if got, err := org.ParsePermissions(s); err == nil || !strings.Contains(err.Error(), "team:Admin") {
			t.Errorf("%q: %v, %v, want an error that lists what there is", s, got, err)
		}
	}
}

func TestPassword(t *testing.T) {
	const email, name = "countess@example.com", "Augusta King"
	for _, p := range []org.Password{"correct horse battery staple", "15 characters!!", "пароль из многих слов", "ランタンと出窓と三つの椅子と机"} {
		if err := p.Check(email, name); err != nil {
			t.Errorf("%q: %v", p.String(), err)
		}
	}
	for why, p := range map[string]org.Password{
		"empty":            "",
		"short":            "14 characters.",
		"a common one":     "password123456password",
		"own address":      "countess@example.com1",
		"own name":         "Augusta KingAUGUSTA KING",
		"repetition":       "aaaaaaaaaaaaaaaaaaaaaaaa",
		"not UTF-8":        "a long pass phrase \xff\xfe",
		"longer than 256":  org.Password(strings.Repeat("abcdefgh", 33)),
		"the product":      "oriel oriel oriel oriel",
		"capitals do not":  "PASSWORD PASSWORD PASSWORD",
		"decomposed short": org.Password(strings.Repeat("u\u0308", 14)),
	} {
		if err := p.Check(email, name); err == nil {
			t.Errorf("%s is accepted", why)
		}
	}
}

func TestPasswordHash(t *testing.T) {
	const p = org.Password("caf\u00e9 with three chairs")
	hash, err := p.Hash()
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Fatalf("hash %q, %v", hash, err)
	}
	if again, err := p.Hash(); err != nil || again == hash {
		t.Error("two hashes share their salt")
	}
	for text, want := range map[org.Password]bool{
		p:                              true,
		"cafe\u0301 with three chairs": true, // as another keyboard writes it
		"cafe with three chairs":       false,
		"":                             false,
	} {
		ok, outdated, err := text.Matches(hash)
		if err != nil || ok != want || outdated {
			t.Errorf("%v: %v, %v, %v, want %v", []byte(text), ok, outdated, err, want)
		}
	}
	// A hash with other parameters is to be made anew, but only by its owner.
	const old = "$argon2id$v=19$m=1024,t=1,p=1$rzaTuWDOzJ5tytom7RNIRg$nIfWiqMUega3CCCRclZOcs33E76o37QlhaHUzbeLg1s"
	if ok, outdated, err := p.Matches(old); !ok || !outdated || err != nil {
		t.Errorf("an older hash: %v, %v, %v", ok, outdated, err)
	}
	if ok, outdated, err := org.Password("another one").Matches(old); ok || outdated || err != nil {
		t.Errorf("an older hash and a wrong password: %v, %v, %v", ok, outdated, err)
	}
	if ok, _, err := p.Matches(""); ok || err == nil {
		t.Error("a person without a password signed in")
	}
}

func TestSecretsPrintAsNothing(t *testing.T) {
	p, k := org.Password("correct horse battery staple"), org.KeySecret("orl_ingest_secret")
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("secrets", "password", p, "key", k)
	text := b.String() + fmt.Sprintf("%v %s %+v", p, p, k)
	if strings.Contains(text, "horse") || strings.Contains(text, "orl_ingest_") {
		t.Error(text)
	}
	if k.Reveal() != "orl_ingest_secret" {
		t.Error(k.Reveal())
	}
}

func TestBuiltInRolesOnlyEverAdd(t *testing.T) {
	roles := org.BuiltInRoles()
	var names []string
	for i, r := range roles {
		names = append(names, r.Name)
		if !org.IsBuiltInRole(r.Name) || org.IsBuiltInRole(r.Name+"s") {
			t.Errorf("IsBuiltInRole(%q)", r.Name)
		}
		if !r.BuiltIn() || r.DataScope != nil {
			t.Errorf("%s: %+v", r.Name, r)
		}
		if i > 0 {
			for _, p := range roles[i-1].Permissions {
				if !slices.Contains(r.Permissions, p) {
					t.Errorf("%s lacks %s of %s", r.Name, p, roles[i-1].Name)
				}
			}
		}
	}
	if diff := cmp.Diff([]string{"viewer", "analyst", "operator", "admin"}, names); diff != "" {
		t.Error(diff)
	}
	if got := org.NewStanding(roles).Permissions(); !slices.Equal(got, org.Permissions()) {
		t.Errorf("no role gives %v", got)
	}
	// Nobody gets another's permissions by appending to a shared list.
	viewer := org.BuiltInRoles()[0]
	_ = append(viewer.Permissions[:0], org.TeamAdmin)
	if org.NewStanding(org.BuiltInRoles()[:1]).May(org.TeamAdmin) {
		t.Error("the built-in roles are shared")
	}
}
