// Package mail_test sends letters through a real mail server.
package mail_test

import (
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/orielhq/oriel/test/testenv"
)

const from = "Oriel <oriel@example.com>"

func TestLetters(t *testing.T) {
	const user, password = "oriel", "a-password-of-the-mail-server"
	m := testenv.StartMail(t, user, password)
	o := testenv.StartOriel(t, "--smtp-url", m.URL(user, password), "--mail-from", from)
	flags := []string{"--smtp-url", m.URL(user, password), "--mail-from", from}

	t.Run("an invitation from the shell", func(t *testing.T) {
		out := o.Admin(append([]string{"user", "invite", "--email", "ada@example.com", "--name", "Ada"}, flags...)...)
		if !strings.Contains(out, "mailed to ada@example.com") || strings.Contains(out, "token=") {
			t.Errorf("it printed %q", out)
		}
		letter := m.Next(1)
		if len(letter.To) != 1 || letter.To[0] != "ada@example.com" || !strings.Contains(letter.Text, "Hello Ada") {
			t.Errorf("%+v", letter)
		}
		if status, body := get(t, letter.Link()); status != http.StatusOK || !strings.Contains(body, "Choose a password") {
			t.Errorf("the link in the letter: %d", status)
		}
	})

	t.Run("a forgotten password", func(t *testing.T) {
		if _, body := get(t, o.URL+"/login"); !strings.Contains(body, "/login/forgot") {
			t.Error("the sign-in page does not lead there")
		}
		known, knownBody := ask(t, o, "ada@example.com")
		letter := m.Next(2)
		if letter.Subject != "Choose a new password for Oriel" {
			t.Errorf("%+v", letter)
		}
		if status, _ := get(t, letter.Link()); status != http.StatusOK {
			t.Errorf("the link in the letter: %d", status)
		}
		unknown, unknownBody := ask(t, o, "eve@example.com")
		if known != http.StatusOK || unknown != known || strings.ReplaceAll(unknownBody, "eve@", "ada@") != knownBody {
			t.Errorf("a known address gets %d, an unknown one %d, or another page", known, unknown)
		}
		for range 4 {
			known, _ = ask(t, o, "ada@example.com")
		}
		if known != http.StatusTooManyRequests {
			t.Errorf("asking again and again: %d", known)
		}
		// What was asked for is all that comes: three at the most, and nothing
		// for who is not known.
		o.Admin("user", "invite", "--email", "bob@example.com", "--name", "Bob", "--smtp-url", m.URL(user, password), "--mail-from", from)
		for _, l := range m.Letters() {
			if l.To[0] == "eve@example.com" {
				t.Errorf("a letter to nobody: %+v", l)
			}
		}
	})

	t.Run("trying it", func(t *testing.T) {
		if out, err := try(t, flags...); err != nil || !strings.Contains(out, "took the letter") {
			t.Errorf("%q, %v", out, err)
		}
		stderr, err := try(t, "--smtp-url", m.URL(user, "wrong-one"), "--mail-from", from)
		if err == nil || !strings.Contains(stderr, "refuses the user name or the password") || strings.Contains(stderr, "wrong-one") {
			t.Errorf("a wrong password: %q, %v", stderr, err)
		}
		stderr, err = try(t)
		if err == nil || !strings.Contains(stderr, "ORIEL_SMTP_URL") {
			t.Errorf("no server: %q, %v", stderr, err)
		}
	})

	if strings.Contains(o.Logged(), password) {
		t.Error("the log has the mail server's password in it")
	}
}

// Without a mail server nothing says that letters are sent.
func TestNoLetters(t *testing.T) {
	o := testenv.StartOriel(t)
	if status, _ := get(t, o.URL+"/login/forgot"); status != http.StatusNotFound {
		t.Errorf("the page: %d", status)
	}
	if status, _ := ask(t, o, "ada@example.com"); status != http.StatusNotFound {
		t.Errorf("the form: %d", status)
	}
	if _, body := get(t, o.URL+"/login"); strings.Contains(body, "/login/forgot") {
		t.Error("the sign-in page leads there")
	}
}

// try runs oriel mail test.
func try(t *testing.T, flags ...string) (out string, err error) {
	t.Helper()
	text, err := exec.Command(testenv.Binary(t), append([]string{"mail", "test", "--to", "ops@example.com"}, flags...)...).CombinedOutput()
	return string(text), err
}

func ask(t *testing.T, o *testenv.Oriel, email string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.URL+"/login/forgot", strings.NewReader(url.Values{"email": {email}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return do(t, req)
}

func get(t *testing.T, target string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (status int, body string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
