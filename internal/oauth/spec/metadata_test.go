package spec

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

func golden(t *testing.T, name string, v any) map[string]any {
	t.Helper()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, '\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(b)); d != "" {
		t.Errorf("%s differs; run with -update if that is meant:\n%s", name, d)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for name, v := range m {
		if list, ok := v.([]any); v == nil || v == "" || ok && len(list) == 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	return m
}

func everything() Features {
	return Features{true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, []string{"urn:example:acr"}}
}

// Cases 4 and 5 of the authorization cases.
func TestRFC8414_2_ServerMetadata(t *testing.T) {
	issuer, err := ParsePublicURL("https://oriel.example", false)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "server_core.json", NewServerMetadata(issuer, Features{}))
	golden(t, "server_everything.json", NewServerMetadata(issuer, everything()))
	golden(t, "openid_core.json", NewOpenIDMetadata(issuer, Features{}))
	m := golden(t, "openid_everything.json", NewOpenIDMetadata(issuer, everything()))
	if m["issuer"] != "https://oriel.example" {
		t.Errorf("issuer %v", m["issuer"])
	}
}

// Case 2 of the authorization cases.
func TestRFC9728_2_ResourceMetadata(t *testing.T) {
	issuer, err := ParsePublicURL("https://oriel.example", false)
	if err != nil {
		t.Fatal(err)
	}
	team, err := NewResources(issuer).Team("blue")
	if err != nil {
		t.Fatal(err)
	}
	m := golden(t, "resource_team.json", NewResourceMetadata(team, issuer, "Oriel: Blue", Features{}))
	if m["resource"] != team.URL() {
		t.Errorf("resource %v", m["resource"])
	}
	golden(t, "resource_bare.json", NewResourceMetadata(NewResources(issuer).Bare(), issuer, "", everything()))
}
