package web

import (
	"fmt"
	"strings"
	"time"

	"github.com/boombuler/barcode/qr"
)

// SecondPage asks for a second factor.
type SecondPage struct {
	// Step says where to go afterwards, "" for the start page.
	Step        string
	Person      Account
	SignOutStep string
	// Code says that the person has an authenticator app.
	Code bool
	// Recovery asks for a recovery code instead; RecoveryURL leads there and
	// BackURL back. RecoveryURL is "" where no code would help.
	Recovery             bool
	RecoveryURL, BackURL string
	// Passkey asks for a passkey where its Options are not "".
	Passkey PasskeyAsk
	// OtherPasskeyURL sets up another passkey in place of a lost one, "" where
	// that is not possible.
	OtherPasskeyURL string
	// Why says why more is asked for, "" for no reason beside the person's own.
	Why string
	// Error is shown above the form, "" for none.
	Error string
}

// PasskeyAsk is a question to the browser's passkeys.
type PasskeyAsk struct {
	// Options is the JSON form of the question (WebAuthn §5.1.8 and §5.1.9).
	Options string
	// Ceremony is the signed question, handed back with the answer.
	Ceremony string
}

// EnrolChoicePage leads somebody who must have a second factor to one.
type EnrolChoicePage struct {
	Person      Account
	SignOutStep string
	// OnlyPasskey says that nothing else is enough.
	OnlyPasskey bool
	AppURL      string
	// PasskeyURL is "" where passkeys do not work; NoPasskeys then says why.
	PasskeyURL, NoPasskeys string
}

// EnrolAppPage sets up an authenticator app.
type EnrolAppPage struct {
	Step   string
	Person Account
	// Enrolment is the signed secret, handed back with the code.
	Enrolment string
	// Secret is shown beside its QR code.
	Secret string
	QR     QR
	// Name is what was typed before.
	Name string
	// Cancel is where to go without, "" for somebody who must enrol.
	Cancel string
	// Error is shown at the code, NameError at the name, "" for none.
	Error, NameError string
}

// EnrolPasskeyPage sets up a passkey or security key.
type EnrolPasskeyPage struct {
	Step    string
	Person  Account
	Passkey PasskeyAsk
	Name    string
	Cancel  string
	// Error is shown above the form, NameError at the name, "" for none.
	Error, NameError string
}

// RecoveryCodesPage shows recovery codes, once.
type RecoveryCodesPage struct {
	Codes []string
	// Next is the local path to go on to.
	Next string
	// First says that a first factor was just set up.
	First bool
}

// SecurityPage is where a person changes how they sign in.
type SecurityPage struct {
	Account Account
	Now     time.Time
	// Notice is shown at the top, "" for none.
	Notice  string
	Factors []SecurityFactor
	// RecoveryLeft is how many recovery codes are unused.
	RecoveryLeft int
	// AppURL and PasskeyURL set up another factor; PasskeyURL is "" where
	// passkeys do not work, and NoPasskeys then says why.
	AppURL, PasskeyURL, NoPasskeys string
	// Demand says what the organization demands, "" for nothing.
	Demand string
	// HasPassword says that the person signs in with a password.
	HasPassword   bool
	PasswordError string
	MinPassword   int
	// RenameError is about the factor with the id RenameID.
	RenameID, RenameError string
	// Browsers are where the person is signed in, this one first.
	Browsers []BrowserSession
	// SignIns are the last sign-ins and refused attempts.
	SignIns []SignIn
}

// BrowserSession is a browser at which somebody is signed in.
type BrowserSession struct {
	// Here says that it is this one.
	Here            bool
	Since, LastUsed time.Time
	// How says by what they proved who they are, as in "with a password".
	How string
}

// SecurityFactor is a second factor as its person sees it.
type SecurityFactor struct {
	ID, Name string
	// Kind says what it is in words.
	Kind           string
	Added, LastUse time.Time
	// Needed says that it cannot be removed: nothing that is enough would be
	// left.
	Needed bool
	// Trouble is a warning about it, "" for none.
	Trouble string
}

// ConfirmPage asks before something ends.
type ConfirmPage struct {
	Account Account
	// Heading asks; What says what will happen.
	Heading, What string
	// Action is the local path that the form posts to, Button its words.
	Action, Button string
	// Fields are sent along.
	Fields []FormField
	// Cancel is the local path to go to instead.
	Cancel string
}

// PoliciesPage sets what sign-ins must have had.
type PoliciesPage struct {
	Account Account
	Notice  string
	// Policies are the organization's, for owners, and those of the teams that
	// the person administers.
	Policies []Policy
	// Owner says that the sign-in message can be set: it is Message, and
	// MessageError says what is wrong with it.
	Owner                 bool
	Message, MessageError string
}

// Policy is what sign-ins must have had, for the organization or a team.
type Policy struct {
	// Slug is "" for the organization.
	Slug, Name string
	// Current is the level that is set.
	Current string
	Levels  []PolicyLevel
	// Floor says what the organization demands in any case, "" for nothing.
	Floor string
	Error string
	// Disconnect, Reconnect and SignInAge are what is set, "" for nothing;
	// Default says what holds then.
	Disconnect, Reconnect, SignInAge string
	Default                          string
	// AgeError says what is wrong with the age that was typed.
	AgeError string
}

// PolicyLevel is one choice.
type PolicyLevel struct {
	Value, Text string
	// Effect says what choosing it would do now.
	Effect string
}

func (p SecondPage) frame() frame {
	return frame{Name: "second", Title: "Second step"}
}
func (p EnrolChoicePage) frame() frame { return frame{Name: "enrolchoice", Title: "Second factor"} }
func (p EnrolAppPage) frame() frame {
	return frame{Name: "enrolapp", Title: "Set up an authenticator app"}
}

func (p EnrolPasskeyPage) frame() frame {
	return frame{Name: "enrolpasskey", Title: "Set up a passkey"}
}

func (p RecoveryCodesPage) frame() frame {
	return frame{Name: "recoverycodes", Title: "Recovery codes"}
}

func (p SecurityPage) frame() frame {
	return frame{Name: "security", Title: "Security", Account: &p.Account, Current: "/security"}
}

func (p ConfirmPage) frame() frame {
	return frame{Name: "confirm", Title: p.Heading, Account: &p.Account}
}

func (p PoliciesPage) frame() frame {
	return frame{Name: "policies", Title: "Policies", Account: &p.Account, Current: "/policies"}
}

// policy is that of a page with the question: speaking to authenticators cannot
// be done without a script, and it is one of ours.
func (a PasskeyAsk) policy() string {
	if a.Options == "" {
		return "; form-action 'self'"
	}
	return "; script-src 'self'; form-action 'self'"
}

func (p SignInPage) policy() string       { return p.Passkey.policy() }
func (p SecondPage) policy() string       { return p.Passkey.policy() }
func (p EnrolPasskeyPage) policy() string { return p.Passkey.policy() }

// QR is a QR code as a path of unit squares.
type QR struct {
	// Size is the width and height, the quiet zone included.
	Size int
	// Path is the SVG path of the dark modules.
	Path string
}

// quietZone is the light border that scanners need, in modules (ISO/IEC 18004
// §5.3.8).
const quietZone = 4

// NewQR draws a text.
func NewQR(text string) (QR, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return QR{}, fmt.Errorf("encode QR code: %w", err)
	}
	n := code.Bounds().Dx()
	var path strings.Builder
	for y := range n {
		for x := 0; x < n; x++ {
			start := x
			for x < n {
				if r, _, _, _ := code.At(x, y).RGBA(); r != 0 {
					break
				}
				x++
			}
			if x > start {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", start+quietZone, y+quietZone, x-start, x-start)
			}
		}
	}
	return QR{Size: n + 2*quietZone, Path: path.String()}, nil
}
