package org_test

import (
	"strings"
	"testing"

	"github.com/orielhq/oriel/internal/org"
)

// FuzzMatches: whatever a store holds, comparing with it neither panics nor
// takes long, and another password matches nothing.
func FuzzMatches(f *testing.F) {
	const salt, key = "rzaTuWDOzJ5tytom7RNIRg", "nIfWiqMUega3CCCRclZOcs33E76o37QlhaHUzbeLg1s"
	f.Add("$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=64,t=1,p=1$" + salt + "$")
	f.Add("$argon2id$v=19$m=64,t=1,p=1$$")
	f.Add("$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=64,t=1,p=0$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=0,t=1,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=64,t=4294967295,p=1$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=64,t=1,p=256$" + salt + "$" + key)
	f.Add("$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("A", 4096))
	f.Add("$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + key)
	f.Add("$$$$$")
	f.Add("")
	f.Fuzz(func(t *testing.T, hash string) {
		if ok, outdated, err := org.Password("correct horse battery staple").Matches(hash); ok || outdated {
			t.Errorf("%q: %v, %v, %v", hash, ok, outdated, err)
		}
	})
}

// A hash that was cut short matches nothing, and says so.
func TestPasswordAndACorruptHash(t *testing.T) {
	for _, hash := range []string{
		"$argon2id$v=19$m=64,t=1,p=1$rzaTuWDOzJ5tytom7RNIRg$", "$argon2id$v=19$m=64,t=0,p=1$rzaTuWDOzJ5tytom7RNIRg$nIfWiqMUega3CCCRclZOcs33E76o37QlhaHUzbeLg1s",
		"$argon2id$v=19$m=64,t=1,p=0$rzaTuWDOzJ5tytom7RNIRg$nIfWiqMUega3CCCRclZOcs33E76o37QlhaHUzbeLg1s",
	} {
		if ok, outdated, err := org.Password("").Matches(hash); ok || outdated || err == nil {
			t.Errorf("%q: %v, %v, %v", hash, ok, outdated, err)
		}
	}
}
