package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

const (
	nonceKeyBytes = 32
	// nonceSlot is how often the nonce changes. One is good for its own slot
	// and the next, so for 3 minutes at least.
	nonceSlot = 3 * time.Minute
	// maxNonceAge is the longest time that any one nonce is accepted.
	maxNonceAge = 2 * nonceSlot
	// maxRemembered bounds each of the two halves of the memory: about 10 MB.
	maxRemembered = 100_000
)

// nonces makes nonces out of the time (RFC 9449 §8), so that nobody has to
// remember them and every replica knows those of the others.
type nonces struct{ key []byte }

func (n nonces) current(now time.Time) string { return n.at(slotOf(now)) }

func (n nonces) valid(nonce string, now time.Time) bool {
	slot := slotOf(now)
	current := hmac.Equal([]byte(nonce), []byte(n.at(slot)))
	previous := hmac.Equal([]byte(nonce), []byte(n.at(slot-1)))
	return current || previous
}

func (n nonces) at(slot int64) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write(binary.BigEndian.AppendUint64([]byte("dpop nonce "), uint64(slot)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

func slotOf(now time.Time) int64 { return now.Unix() / int64(nonceSlot/time.Second) }

// memory remembers proofs for as long as their nonce is accepted: a proof goes
// into the newer half, and a half is dropped when it has been the older one
// for maxNonceAge. It belongs to one process: a proof can be used once at each replica.
type memory struct {
	limit int

	mu           sync.Mutex // guards all below
	newer, older map[[sha256.Size]byte]struct{}
	began        time.Time // when newer was begun
}

// added says what became of a proof.
type added int

const (
	memoryFull added = iota
	addedBefore
	addedNow
)

func (m *memory) add(proof [sha256.Size]byte, now time.Time) added {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.newer == nil || now.Sub(m.began) >= maxNonceAge {
		m.older, m.newer, m.began = m.newer, make(map[[sha256.Size]byte]struct{}), now
	}
	if _, ok := m.newer[proof]; ok {
		return addedBefore
	}
	if _, ok := m.older[proof]; ok {
		return addedBefore
	}
	if len(m.newer) >= m.limit {
		return memoryFull
	}
	m.newer[proof] = struct{}{}
	return addedNow
}
