package org

import "time"

// MakePerson returns somebody with a new id who is not stored yet and has no
// password: an account that an identity provider or a program vouches for.
func MakePerson(email, name string, now time.Time) (Person, error) {
	d := Directory{now: func() time.Time { return now }}
	p, _, err := d.newPerson(NewPerson{Email: email, Name: name})
	return p, err
}
