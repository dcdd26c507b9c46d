package clients

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

// TestSCIMLibraries: what the server says of its schemas, finds by filters and
// makes of PATCH requests is what libraries of other makes say, find and make
// (test/node/scim.mjs has what is known to differ, and why).
func TestSCIMLibraries(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	token := strings.TrimSpace(o.Admin("scim", "token", "add", "--name", "Libraries"))
	result := runScript(t, nil, "scim.mjs", "--base", o.URL+"/scim/v2", "--token", token)
	var got struct {
		Differences []string
		Compared    struct{ Schemas, Resources, Filters, Patches int }
	}
	if err := json.Unmarshal(result, &got); err != nil {
		t.Fatal(err)
	}
	for _, d := range got.Differences {
		t.Error(d)
	}
	if c := got.Compared; c.Schemas != 2 || c.Resources < 30 || c.Filters < 250 || c.Patches < 30 {
		t.Errorf("compared too little: %+v", c)
	}
}
