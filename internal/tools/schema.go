package tools

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// A param is one argument of a tool.
type param struct {
	name string
	// kind is "string", "list" (of strings), "integer" or "boolean".
	kind string
	// text says what it is for, to the assistant.
	text string
	// choices are the values it takes; none means any.
	choices []string
	// least, most and otherwise are an integer's bounds and default.
	least, most, otherwise int
	// required is for what a call means nothing without.
	required bool
}

func textParam(name, text string, choices ...string) param {
	return param{name: name, kind: "string", text: text, choices: choices}
}

func listParam(name, text string) param { return param{name: name, kind: "list", text: text} }

func numberParam(name, text string, least, most, otherwise int) param {
	return param{name: name, kind: "integer", text: text, least: least, most: most, otherwise: otherwise}
}

// must marks an argument that has to be there.
func must(p param) param {
	p.required = true
	return p
}

// Arguments that many tools have, with the same meaning in each.
var (
	startParam  = textParam("start", "now-15m, now-2d, RFC 3339, date (UTC) or Unix time; default now-1h")
	endParam    = textParam("end", "exclusive; default now")
	tokensParam = numberParam("max_tokens", "most tokens of the answer", minTokens, maxTokens, defaultTokens)
	cursorParam = textParam("cursor", "from an earlier answer, with its other arguments")
)

// schema writes the parameters as a JSON Schema 2020-12 object that admits no
// others.
func schema(params []param) json.RawMessage {
	var b strings.Builder
	b.WriteString(`{"type":"object","properties":{`)
	var required []string
	for i, p := range params {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(jsonText(p.name) + `:{`)
		switch p.kind {
		case "list":
			b.WriteString(`"type":"array","items":{"type":"string"}`)
		case "integer":
			b.WriteString(`"type":"integer","minimum":` + strconv.Itoa(p.least) + `,"maximum":` + strconv.Itoa(p.most) + `,"default":` + strconv.Itoa(p.otherwise))
		default:
			b.WriteString(`"type":` + jsonText(p.kind))
		}
		if len(p.choices) > 0 {
			b.WriteString(`,"enum":` + jsonText(p.choices))
		}
		if p.text != "" {
			b.WriteString(`,"description":` + jsonText(p.text))
		}
		b.WriteByte('}')
		if p.required {
			required = append(required, p.name)
		}
	}
	b.WriteByte('}')
	if len(required) > 0 {
		b.WriteString(`,"required":` + jsonText(required))
	}
	b.WriteString(`,"additionalProperties":false}`)
	return json.RawMessage(b.String())
}

func jsonText(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings and lists of them always encode
	}
	return strings.TrimSpace(b.String())
}

func paramNames(params []param) []string {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
	}
	return names
}

func hasParam(params []param, name string) bool {
	return slices.ContainsFunc(params, func(p param) bool { return p.name == name })
}
