package telemetry

// A Filter is a parsed data scope: a condition on resource attributes. See
// ParseFilter for the language.
type Filter struct {
	text string
}

// String returns the filter's canonical text, which parses to an equal filter.
func (f *Filter) String() string { return f.text }
