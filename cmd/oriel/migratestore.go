package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/orielhq/oriel/internal/server"
)

type migrateStoreCommand struct {
	adminFlags
	From string `help:"Where the state is. Default: oriel.db in the data directory." placeholder:"sqlite:PATH"`
	To   string `help:"The empty database it goes to. Default: --database-url, which ORIEL_DATABASE_URL sets without showing a password." placeholder:"postgres://…"`
}

type jsonMovedTable struct {
	Table    string `json:"table"`
	Rows     int64  `json:"rows"`
	Checksum string `json:"checksum"`
	Replaced int64  `json:"replaced"`
}

// Run copies everything and prints what was compared.
func (c *migrateStoreCommand) Run(env *environment) error {
	path, ok := strings.CutPrefix(c.From, "sqlite:")
	if c.From != "" && (!ok || path == "") {
		return errors.New("--from: write it like sqlite:oriel-data/oriel.db; only SQLite can be moved from")
	}
	if c.To == "" {
		c.To = c.DatabaseURL
	}
	moved, err := server.MoveStore(env.ctx, c.Store, path, c.To, operator())
	if err != nil {
		return err
	}
	list, rows := make([]jsonMovedTable, 0, len(moved)), make([][]string, 0, len(moved))
	var total, replaced int64
	for _, m := range moved {
		list = append(list, jsonMovedTable{m.Name, m.Rows, m.Checksum, m.Replaced})
		rows = append(rows, []string{m.Name, fmt.Sprint(m.Rows), m.Checksum[:16]})
		total, replaced = total+m.Rows, replaced+m.Replaced
	}
	text := table("There is no table.", []string{"TABLE", "ROWS", "CHECKSUM (the same on both sides)"}, rows) +
		fmt.Sprintf("\n%d rows in %d tables were copied, read back and found the same.\n", total, len(moved))
	if replaced > 0 {
		text += fmt.Sprintf("In %d texts, characters that PostgreSQL does not keep became U+FFFD.\n", replaced)
	}
	text += fmt.Sprintf(`
Start the server with --database-url (or ORIEL_DATABASE_URL) and --data-dir %s. The master key is
not in the database: keep master.key, or set ORIEL_MASTER_KEY to what it holds, on every machine.
Telemetry stays in the data directory. Put the SQLite file away: a server started without
--database-url would go on from it, with everything that was ended since.
`, c.DataDir)
	return c.print(env, list, text)
}
