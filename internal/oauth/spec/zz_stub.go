package spec

// ClientMetadata stands in until registration.go arrives.
type ClientMetadata struct {
	ClientName   string
	RedirectURIs []RedirectURI
}
