package web

import (
	"html/template"
	"time"
)

// AuditPage shows the audit log, the newest first.
type AuditPage struct {
	Account Account
	// What was asked for, as it was typed.
	Text, Email, From, To string
	// Errors are by the name of the field.
	Errors  map[string]string
	Entries []AuditEntry
	// Query is what was asked for, encoded as a query without the question
	// mark.
	Query template.URL
	// Older is the address of the next page, "" where there is none.
	Older string
	// Filtered says that not everything was asked for.
	Filtered bool
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	At                                        time.Time
	Who, Address, Kind, Target, Team, Details string
}

func (p AuditPage) frame() frame {
	return frame{Name: "audit", Title: "Audit", Account: &p.Account, Current: "/audit"}
}
