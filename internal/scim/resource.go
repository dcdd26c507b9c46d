package scim

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// meta is what a resource says about itself (RFC 7643 §3.1). Its version
// follows from what the resource holds, so that it changes with any of it.
func meta(kind, location string, created, modified time.Time, r map[string]any) map[string]any {
	// Names of members are sorted by encoding/json, and nothing here cannot be
	// encoded.
	b, _ := json.Marshal(r)
	sum := sha256.Sum256(b)
	return map[string]any{
		"resourceType": kind, "location": location,
		"created": created.UTC().Format(time.RFC3339Nano), "lastModified": modified.UTC().Format(time.RFC3339Nano),
		"version": `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
}
