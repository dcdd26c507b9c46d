package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// stepLimit bounds one step of a person at the browser.
const stepLimit = 20 * time.Second

// Size of the window, that of a small laptop: it is the size of screenshots.
const (
	windowWidth  = 1280
	windowHeight = 900
)

// Browser is a Chromium with a profile of its own. Its methods find things by
// the words that people see, and fail the test with a screenshot and the
// page's text when they are not there.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu        sync.Mutex // guards requested and complaints
	requested []string
	complaint []string
}

// BrowserOption changes how a Browser behaves.
type BrowserOption func(*Browser) error

// WithoutJavaScript switches the scripts of pages off.
func WithoutJavaScript() BrowserOption {
	return func(b *Browser) error {
		_, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}
}

// Dark makes the browser prefer dark pages.
func Dark() BrowserOption {
	return func(b *Browser) error {
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
		})
		return err
	}
}

// Narrow makes the window that of a small telephone.
func Narrow() BrowserOption {
	return func(b *Browser) error {
		_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: 340, Height: 720, DeviceScaleFactor: 1, Mobile: true,
		})
		return err
	}
}

func chromium() (string, error) {
	if path := os.Getenv("ORIEL_TEST_CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium: 'make tools' installs it")
}

// NewBrowser starts a Chromium that ends with the test.
func NewBrowser(t testing.TB, opts ...BrowserOption) *Browser {
	t.Helper()
	path, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancelAllocator := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Headless, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		// Tests run as root in containers, where the sandbox cannot; only
		// pages of the program under test are opened.
		chromedp.NoSandbox,
		chromedp.WindowSize(windowWidth, windowHeight),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-features", "Translate,MediaRouter,OptimizationHints"),
		chromedp.Flag("lang", "en"),
	)
	ctx, cancel := chromedp.NewContext(ctx)
	b := &Browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		// Waits for the process, so that its folder can be removed.
		_ = chromedp.Cancel(b.ctx)
		cancel()
		cancelAllocator()
	})
	if err := chromedp.Listen(b.ctx, b.heard); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	for _, opt := range opts {
		if err := opt(b); err != nil {
			t.Fatalf("set up Chromium: %v", err)
		}
	}
	return b
}

// heard notes where pages wanted to go and what the browser complained about.
func (b *Browser) heard(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *page.EventFrameRequestedNavigation:
		b.requested = append(b.requested, ev.URL)
	case *log.EventEntryAdded:
		b.complaint = append(b.complaint, strings.TrimSpace(string(ev.Entry.Level)+": "+ev.Entry.Text+" "+ev.Entry.URL))
	case *runtime.EventExceptionThrown:
		b.complaint = append(b.complaint, "exception: "+ev.ExceptionDetails.Text)
	}
}

// Requested returns the addresses that pages wanted to go to: by a link, a
// form, a script or a refresh.
func (b *Browser) Requested() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requested)
}

// Complaints returns what the browser put into its console.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complaint)
}

// do runs a step within its limit and fails the test if it does not work.
func do[T any](b *Browser, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.fail(what, err)
	}
	return v
}

func (b *Browser) fail(what string, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	if shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
		_ = os.WriteFile(filepath.Join(b.t.ArtifactDir(), "failed.png"), shot, 0o600)
	}
	where, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](bodyText))
	b.t.Fatalf("%s: %v\nat %s, which says:\n%s\nconsole: %q", what, err, where, text, b.Complaints())
}

const bodyText = `document.body ? document.body.innerText : ""`

// Open goes to an address and returns the status of the answer.
func (b *Browser) Open(url string) int {
	b.t.Helper()
	resp := do(b, "open "+url, chromedp.NavigateResponse(url))
	if resp == nil {
		return 0
	}
	return int(resp.Status)
}

// labelled finds a field by its label.
func labelled(label string) chromedp.Search {
	return chromedp.Search(fmt.Sprintf(`//*[self::input or self::textarea][@id=//label[normalize-space(.)="%s"]/@for]`, label))
}

// Fill types into the field with a label, in place of what is there.
func (b *Browser) Fill(label, text string) {
	b.t.Helper()
	do(b, "field "+label, chromedp.Steps(
		chromedp.WaitVisible(labelled(label)),
		chromedp.Clear(labelled(label)),
		chromedp.SendKeys(labelled(label), text),
	))
}

// Write puts text into the larger field with a label, in place of what is
// there.
func (b *Browser) Write(label, text string) {
	b.t.Helper()
	do(b, "field "+label, chromedp.Steps(chromedp.WaitVisible(labelled(label)), chromedp.SetValue(labelled(label), text)))
}

// Choose takes the radio button with a label.
func (b *Browser) Choose(label string) {
	b.t.Helper()
	do(b, "choice "+label, chromedp.Steps(chromedp.WaitVisible(labelled(label)), chromedp.Click(labelled(label))))
}

// Unfold shows what stands behind a summary.
func (b *Browser) Unfold(summary string) {
	b.t.Helper()
	sel := chromedp.Search(fmt.Sprintf(`//summary[normalize-space(.)="%s"]`, summary))
	do(b, "summary "+summary, chromedp.Steps(chromedp.WaitVisible(sel), chromedp.Click(sel)))
}

// UnfoldFirst shows what stands behind the first summary that has the words.
func (b *Browser) UnfoldFirst(words string) {
	b.t.Helper()
	sel := chromedp.Search(fmt.Sprintf(`(//summary[contains(normalize-space(.), "%s")])[1]`, words))
	do(b, "summary with "+words, chromedp.Steps(chromedp.WaitVisible(sel), chromedp.Click(sel)))
}

func button(name string) chromedp.Search {
	return chromedp.Search(fmt.Sprintf(`//button[normalize-space(.)="%s"]`, name))
}

// Press presses a button that sends a form, waits for the page that follows,
// after all redirects, and returns the status of its answer.
func (b *Browser) Press(name string) int {
	b.t.Helper()
	return b.navigate("button "+name, button(name))
}

// Follow follows the link with a text, as Press presses a button.
func (b *Browser) Follow(text string) int {
	b.t.Helper()
	return b.navigate("link "+text, chromedp.Search(fmt.Sprintf(`//a[normalize-space(.)="%s"]`, text)))
}

// PressLeaving presses a button after which the browser may show no new page:
// it hands over to an app that is not there.
func (b *Browser) PressLeaving(name string) {
	b.t.Helper()
	do(b, "button "+name, chromedp.Steps(chromedp.WaitVisible(button(name)), chromedp.Click(button(name))))
}

// WaitFor waits until a page with a button is there.
func (b *Browser) WaitFor(name string) {
	b.t.Helper()
	do(b, "button "+name, chromedp.WaitVisible(button(name)))
}

func (b *Browser) navigate(what string, sel chromedp.Search) int {
	b.t.Helper()
	do(b, what, chromedp.WaitVisible(sel))
	ctx, cancel := context.WithTimeout(b.ctx, stepLimit)
	defer cancel()
	resp, err := chromedp.RunResponse(ctx, chromedp.Click(sel))
	if err != nil {
		b.fail(what, err)
	}
	if resp == nil {
		return 0
	}
	return int(resp.Status)
}

// Has says whether the page has a button, a link or a labelled input with
// these words.
func (b *Browser) Has(words string) bool {
	b.t.Helper()
	ids := do(b, "look for "+words, chromedp.QueryNodeIDs(chromedp.Search(fmt.Sprintf(
		`//button[normalize-space(.)="%[1]s"] | //a[normalize-space(.)="%[1]s"] | //input[@id=//label[normalize-space(.)="%[1]s"]/@for]`, words)), chromedp.AtLeast(0)))
	return len(ids) > 0
}

// Heading returns the page's heading.
func (b *Browser) Heading() string {
	b.t.Helper()
	return strings.Join(strings.Fields(do(b, "heading", chromedp.Text(chromedp.CSS("h1")))), " ")
}

// ExpectHeading fails the test unless the page's heading holds the words.
func (b *Browser) ExpectHeading(words string) {
	b.t.Helper()
	if h := b.Heading(); !strings.Contains(h, words) {
		b.fail("heading", fmt.Errorf("it is %q, want %q", h, words))
	}
}

// Text returns what the page says.
func (b *Browser) Text() string {
	b.t.Helper()
	return do(b, "text", chromedp.Evaluate[string](bodyText))
}

// ExpectText fails the test unless the page says the words.
func (b *Browser) ExpectText(words string) {
	b.t.Helper()
	if !strings.Contains(b.Text(), words) {
		b.fail("text", fmt.Errorf("%q is not on the page", words))
	}
}

// Location returns the address of the page.
func (b *Browser) Location() string {
	b.t.Helper()
	return do(b, "location", chromedp.Location())
}

// SignIn fills in the sign-in page, on which the browser must be.
func (b *Browser) SignIn(email string) {
	b.t.Helper()
	b.Fill("Email", email)
	b.Fill("Password", Password)
	b.Press("Sign in")
}

// Consent is what a person does between a client's request and its answer:
// opens the page, signs in if asked, picks the team (unless it is "") and
// presses Allow access. It returns the status of the page that follows.
func (b *Browser) Consent(authorizationURL, email, team string) int {
	b.t.Helper()
	b.Open(authorizationURL)
	if b.Has("Email") {
		b.SignIn(email)
	}
	if team != "" {
		b.Choose(team)
	}
	return b.Press("Allow access")
}

// Screenshot keeps a picture of the whole page beside the test's other artifacts
// and, with ORIEL_DOCS_SCREENSHOTS, in that folder.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	shot := b.keep(name)
	docs := os.Getenv("ORIEL_DOCS_SCREENSHOTS")
	if docs == "" {
		return
	}
	small, err := fewColours(shot)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(docs, name, small)
}

// Picture is Screenshot for what the documentation does not show.
func (b *Browser) Picture(name string) {
	b.t.Helper()
	b.keep(name)
}

func (b *Browser) keep(name string) []byte {
	b.t.Helper()
	shot := do(b, "screenshot", chromedp.FullScreenshot(100))
	b.write(b.t.ArtifactDir(), name, shot)
	return shot
}

func (b *Browser) write(dir, name string, shot []byte) {
	b.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// Call sends a command of the DevTools protocol that has no method here.
func Call[P, R any](b *Browser, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
	return r
}
