package scim

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func ada() map[string]any {
	return map[string]any{
		"schemas": []any{schemaUser}, "id": "per_1", "userName": "Ada@example.com", "displayName": "Ada King", "active": true,
		"name":   map[string]any{"givenName": "Ada", "familyName": "King"},
		"emails": []any{map[string]any{"value": "ada@example.com", "type": "work", "primary": true}, map[string]any{"value": "ada@home.example", "type": "home"}},
		"meta":   map[string]any{"lastModified": "2026-11-23T10:00:00Z", "resourceType": "User"},
		"groups": []any{},
	}
}

// RFC 7644 §3.4.2.2, most of its own examples among them.
func TestRFC7644_3_4_2_2_Filters(t *testing.T) {
	for text, want := range map[string]bool{
		`userName eq "ada@EXAMPLE.com"`:                              true,
		`USERNAME Eq "ada@example.com"`:                              true,
		`id eq "per_1"`:                                              true,
		`id eq "PER_1"`:                                              false, // caseExact
		`userName ne "bob@example.com"`:                              true,
		`userName ne "ada@example.com"`:                              false,
		`name.familyName co "in"`:                                    true,
		`displayName sw "ada"`:                                       true,
		`displayName ew "king"`:                                      true,
		`displayName ew "queen"`:                                     false,
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "A"`: true,
		`title pr`:           false,
		`groups pr`:          false,
		`emails pr`:          true,
		`active eq true`:     true,
		`active eq True`:     true,
		`active eq false`:    false,
		`externalId eq null`: true,
		`meta.lastModified gt "2026-11-23T09:00:00+00:00"`: true,
		`meta.lastModified ge "2026-11-23T12:00:00+02:00"`: true,
		`meta.lastModified lt "2026-11-23T10:00:00Z"`:      false,
		`title pr or userName sw "ada"`:                    true,
		`title pr and userName sw "ada"`:                   false,
		// and binds more than or.
		`active eq true or title pr and title pr`:   true,
		`(active eq true or title pr) and title pr`: false,
		`not (title pr)`:      true,
		`not(active eq true)`: false,
		`emails[type eq "work" and value co "@example.com"]`:                           true,
		`emails[type eq "home" and value co "@example.com"]`:                           false,
		`emails[type eq "home"].value eq "ada@home.example"`:                           true,
		`emails[type eq "work"].value eq "ada@home.example"`:                           false,
		`emails.type eq "home"`:                                                        true,
		`emails co "home.example"`:                                                     true,
		`emails.value eq "nobody" or emails[primary eq true]`:                          true,
		`schemas eq "urn:ietf:params:scim:schemas:core:2.0:User"`:                      true,
		`userName eq "say \"hello\""`:                                                  false,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "x"`: false,
	} {
		t.Run(text, func(t *testing.T) {
			f, err := parseFilter(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := f.matches(ada()); got != want {
				t.Errorf("matches: %v", got)
			}
		})
	}
}

func TestFiltersThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "ends where",
		"userName":                        "ends where one of eq",
		"userName eq":                     "ends where a value",
		"userName is \"x\"":               "at character 10",
		"userName eq x":                   "at character 13",
		"userName eq {}":                  "at character 13",
		"userName co 1":                   "quotation marks",
		"userName eq \"x\" userName pr":   "where the end, and, or or should stand",
		"(userName pr":                    "ends where ) should follow",
		"not userName pr":                 "( after not",
		"emails[type pr":                  "ends where ] should follow",
		"userName eq \"x":                 "at character",
		".userName pr":                    "the name of an attribute",
		"name. pr":                        "the name of an attribute",
		"userName eq \"\xff\"":            "UTF-8",
		strings.Repeat("(", 30) + "a pr":  "nested deeper",
		strings.Repeat("a", 5000) + " pr": "longer than",
	} {
		if _, err := parseFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`userName eq "x"`, `a pr and (b co "c" or not (d.e gt 1))`, `emails[type eq "work" and value co "@"].value sw "a"`, `a eq null`, "((((", `a eq "\u00`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseFilter(text)
		if (err == nil) != (parsed != nil) && err == nil {
			t.Fatal("neither a filter nor an error")
		}
		if err == nil {
			parsed.matches(ada())
			parsed.matches(map[string]any{})
		}
	})
}

func apply(t *testing.T, operations string) (map[string]any, error) {
	t.Helper()
	var p patch
	if err := json.Unmarshal([]byte(`{"Operations":[`+operations+`]}`), &p); err != nil {
		t.Fatal(err)
	}
	return p.apply(ada())
}

// RFC 7644 §3.5.2.
func TestRFC7644_3_5_2_Patch(t *testing.T) {
	for name, c := range map[string]struct {
		operations string
		want       func(map[string]any)
	}{
		"replace":            {`{"op":"replace","path":"displayName","value":"A"}`, func(r map[string]any) { r["displayName"] = "A" }},
		"another case":       {`{"op":"REPLACE","path":"DISPLAYNAME","value":"A"}`, func(r map[string]any) { r["displayName"] = "A" }},
		"with the schema":    {`{"op":"add","path":"urn:ietf:params:scim:schemas:core:2.0:User:displayName","value":"A"}`, func(r map[string]any) { r["displayName"] = "A" }},
		"inside":             {`{"op":"add","path":"name.givenName","value":"A"}`, func(r map[string]any) { r["name"].(map[string]any)["givenName"] = "A" }},
		"inside, no path":    {`{"op":"replace","value":{"name.givenName":"A"}}`, func(r map[string]any) { r["name"].(map[string]any)["givenName"] = "A" }},
		"remove":             {`{"op":"remove","path":"displayName"}`, func(r map[string]any) { delete(r, "displayName") }},
		"remove what is not": {`{"op":"remove","path":"title"}`, func(map[string]any) {}},
		"remove inside":      {`{"op":"remove","path":"name.familyName"}`, func(r map[string]any) { delete(r["name"].(map[string]any), "familyName") }},
		"add object":         {`{"op":"add","path":"name","value":{"givenName":"A"}}`, func(r map[string]any) { r["name"].(map[string]any)["givenName"] = "A" }},
		"replace object":     {`{"op":"replace","path":"name","value":{"givenName":"A"}}`, func(r map[string]any) { r["name"] = map[string]any{"givenName": "A"} }},
		"add entry": {`{"op":"add","path":"emails","value":[{"value":"x@y.example"}]}`, func(r map[string]any) {
			r["emails"] = append(r["emails"].([]any), map[string]any{"value": "x@y.example"})
		}},
		"add entry again": {`{"op":"add","path":"emails","value":[{"value":"ada@example.com"}]}`, func(map[string]any) {}},
		"add one, not a list": {`{"op":"add","path":"emails","value":{"value":"x@y.example"}}`, func(r map[string]any) {
			r["emails"] = append(r["emails"].([]any), map[string]any{"value": "x@y.example"})
		}},
		"replace entries":  {`{"op":"replace","path":"emails","value":[{"value":"x@y.example"}]}`, func(r map[string]any) { r["emails"] = []any{map[string]any{"value": "x@y.example"}} }},
		"remove by filter": {`{"op":"remove","path":"emails[type eq \"home\"]"}`, func(r map[string]any) { r["emails"] = r["emails"].([]any)[:1] }},
		"remove by value":  {`{"op":"remove","path":"emails","value":[{"value":"ada@home.example"}]}`, func(r map[string]any) { r["emails"] = r["emails"].([]any)[:1] }},
		"remove all":       {`{"op":"remove","path":"emails"}`, func(r map[string]any) { delete(r, "emails") }},
		"part of an entry": {`{"op":"replace","path":"emails[type eq \"home\"].value","value":"x@y.example"}`, func(r map[string]any) { r["emails"].([]any)[1].(map[string]any)["value"] = "x@y.example" }},
		"entry that is not": {`{"op":"add","path":"emails[type eq \"other\"].value","value":"x@y.example"}`, func(r map[string]any) {
			r["emails"] = append(r["emails"].([]any), map[string]any{"type": "other", "value": "x@y.example"})
		}},
		"extension":         {`{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"}`, func(map[string]any) {}},
		"id is sent along":  {`{"op":"replace","value":{"id":"other","displayName":"A"}}`, func(r map[string]any) { r["displayName"] = "A" }},
		"one after another": {`{"op":"replace","path":"displayName","value":"A"},{"op":"replace","path":"displayName","value":"B"}`, func(r map[string]any) { r["displayName"] = "B" }},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := apply(t, c.operations)
			if err != nil {
				t.Fatal(err)
			}
			want := ada()
			c.want(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

func FuzzPatch(f *testing.F) {
	for _, s := range []string{
		`{"Operations":[{"op":"add","path":"emails[type eq \"work\"].value","value":"x"}]}`, `{"Operations":[{"op":"remove","path":"members"}]}`,
		`{"Operations":[{"op":"replace","value":{"name.givenName":1,"emails":null,"name":[]}}]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p patch
		if json.Unmarshal([]byte(text), &p) != nil {
			return
		}
		before := ada()
		got, err := p.apply(before)
		if !reflect.DeepEqual(before, ada()) {
			t.Fatal("the resource itself was changed")
		}
		if err != nil {
			return
		}
		var u User
		_ = u.take(got)
		_, _ = takeGroup(got)
	})
}
