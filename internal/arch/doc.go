// Package arch holds the rules about the code itself, as tests: which package
// may import which, that each says what it is for, and that only package
// access makes views. The rules are told in docs/architecture.md.
package arch
