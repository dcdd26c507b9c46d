package telemetry

import "fmt"

// A RejectedRecord is one record that an engine cannot store.
type RejectedRecord struct {
	// Index is the record's place in the batch.
	Index int
	// Reason is one sentence for the sender; it quotes no values.
	Reason string
}

// A RejectedError lists the records of a batch that were not stored because
// the engine could never store them: trying again does not help. All other
// records of the batch were stored.
type RejectedError struct {
	Records []RejectedRecord // at least one, in the batch's order
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d records were rejected; the first: %s", len(e.Records), e.Records[0].Reason)
}
