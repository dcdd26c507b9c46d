package mcpserver_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

const (
	// definitionTokens is what tools/list costs an assistant before its first
	// word, in bytes / 4, for a person who may call every tool. A larger
	// number is a decision: write it down here.
	definitionTokens = 3800
	// maxDefinitionTokens is the budget that no decision exceeds.
	maxDefinitionTokens = 9000
)

func TestDefinitionsStayWithinTheirBudget(t *testing.T) {
	f, _, set, mux := newEndpoint(t, noLogs{})
	tokens := f.Connect("c")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, newRequest(t, string(tokens.Access), "tools/list", `{}`))
	var answer struct {
		Result struct{ Tools []json.RawMessage }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if len(answer.Result.Tools) != len(set.Tools()) {
		t.Errorf("%d tools are listed of %d", len(answer.Result.Tools), len(set.Tools()))
	}
	total := 0
	for _, definition := range answer.Result.Tools {
		total += len(definition)
	}
	total /= 4
	if total > definitionTokens*105/100 || total < definitionTokens*95/100 {
		t.Errorf("the definitions cost %d tokens, expected %d within 5 %%", total, definitionTokens)
	}
	if total > maxDefinitionTokens {
		t.Errorf("the definitions cost %d tokens, more than %d", total, maxDefinitionTokens)
	}
}
