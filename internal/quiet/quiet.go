// Package quiet keeps the standard logger silent while the program starts.
//
// A library that Oriel is built with prints a line to standard error before
// main, on machines without pressure stall information. Each command would
// begin with it. Go initializes the packages that can be initialized in the
// order of their paths, so this one, which imports nothing else, comes right
// after log: before any library that could print (Go specification, Package
// initialization). It is the one place that acts before main.
package quiet

import (
	"io"
	"log"
	"os"
)

var _ = silence()

func silence() struct{} {
	log.SetOutput(io.Discard)
	return struct{}{}
}

// End lets the standard logger print to standard error again. The first thing
// that main does is to call it.
func End() { log.SetOutput(os.Stderr) }
