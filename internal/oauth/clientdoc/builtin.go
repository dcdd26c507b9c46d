package clientdoc

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/orielhq/oriel/internal/oauth/spec"
)

// builtinFiles hold what the documents of well-known products say that we
// need: some of their hosts answer machines in data centres with 403 or a
// page. Each file is written from what the product is known to use.
//
//go:embed builtin/*.json
var builtinFiles embed.FS

type builtinDocument struct{ metadata spec.ClientMetadata }

// readBuiltin reads the built-in copies by the same rules as fetched ones.
func readBuiltin() (map[string]builtinDocument, error) {
	docs := make(map[string]builtinDocument)
	err := fs.WalkDir(builtinFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := builtinFiles.ReadFile(path)
		if err != nil {
			return err
		}
		var id struct {
			ClientID string `json:"client_id"`
		}
		if err := json.Unmarshal(body, &id); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		meta, err := parseDocument(id.ClientID, body)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		docs[id.ClientID] = builtinDocument{meta}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read built-in documents: %w", err)
	}
	return docs, nil
}
