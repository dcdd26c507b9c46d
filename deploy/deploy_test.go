// Package deploy holds recipes for running Oriel; its tests hold them against
// the program.
package deploy

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// buildLine is the recipe's build command, run here as it is written there but
// for where the program goes.
var buildLine = regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)$`)

func build(t *testing.T) string {
	t.Helper()
	recipe := read(t, "Containerfile")
	m := buildLine.FindStringSubmatch(recipe)
	if m == nil {
		t.Fatal("Containerfile has no line that builds")
	}
	program := filepath.Join(t.TempDir(), "oriel")
	cmd := exec.Command("/bin/sh", "-c", strings.Replace(m[1], "/out/oriel", program, 1))
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", m[1], err, out)
	}
	return program
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var settingName = regexp.MustCompile(`\bORIEL_[A-Z_]+\b`)

// Every setting that a recipe names is one of the program's.
func TestSettingsExist(t *testing.T) {
	program := build(t)
	help, err := exec.Command(program, "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	known := settingName.FindAllString(string(help), -1)
	known = append(known, "ORIEL_MASTER_KEY") // is a secret, and has no flag
	for _, name := range []string{"Containerfile", "compose.yaml", "kubernetes/oriel.yaml", "README.md", "../docs/operations.md"} {
		for _, setting := range settingName.FindAllString(read(t, name), -1) {
			if !slices.Contains(known, setting) {
				t.Errorf("%s names %s, which the program does not know", name, setting)
			}
		}
	}
}

func documents(t *testing.T, name string) (out []map[string]any) {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out = append(out, doc)
	}
}

// at follows keys and indexes; it is nil where there is nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// Ports, probes and names fit each other and the server's routes.
func TestKubernetes(t *testing.T) {
	routes := read(t, "../internal/server/testdata/routes.txt")
	kinds := make(map[string]map[string]any)
	for _, d := range documents(t, "kubernetes/oriel.yaml") {
		kind, _ := d["kind"].(string)
		if d["apiVersion"] == nil || at(d, "metadata", "name") == nil {
			t.Errorf("%s has no apiVersion or name", kind)
		}
		if kind != "Namespace" && at(d, "metadata", "namespace") != "oriel" {
			t.Errorf("%s is in another namespace", kind)
		}
		kinds[kind] = d
	}
	for _, kind := range []string{"Namespace", "Service", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"} {
		if kinds[kind] == nil {
			t.Errorf("no %s", kind)
		}
	}
	set := at(kinds["StatefulSet"], "spec")
	c := at(set, "template", "spec", "containers", 0)
	port := at(c, "ports", 0, "containerPort")
	if at(set, "replicas") != 3 || port != 8080 || at(kinds["NetworkPolicy"], "spec", "ingress", 0, "ports", 0, "port") != port {
		t.Errorf("replicas or ports: %v", port)
	}
	for probe, path := range map[string]string{"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"} {
		if got := at(c, probe, "httpGet", "path"); got != path || !strings.Contains(routes, "GET "+path) || at(c, probe, "httpGet", "port") != at(c, "ports", 0, "name") {
			t.Errorf("%s asks %v", probe, got)
		}
	}
	for kind, selector := range map[string][]any{"Service": {"spec", "selector", "app"}, "PodDisruptionBudget": {"spec", "selector", "matchLabels", "app"}, "NetworkPolicy": {"spec", "podSelector", "matchLabels", "app"}} {
		if got := at(kinds[kind], selector...); got != at(set, "template", "metadata", "labels", "app") {
			t.Errorf("%s selects %v", kind, got)
		}
	}
	if at(c, "securityContext", "readOnlyRootFilesystem") != true || at(set, "template", "spec", "securityContext", "runAsNonRoot") != true {
		t.Error("the container may write or be root")
	}
	if at(set, "volumeClaimTemplates", 0, "metadata", "name") != at(c, "volumeMounts", 0, "name") {
		t.Error("the data directory is not on the claimed volume")
	}
}

func TestCompose(t *testing.T) {
	doc := documents(t, "compose.yaml")[0]
	recipe := read(t, "Containerfile")
	if !strings.Contains(recipe, "EXPOSE 8080") || !strings.Contains(recipe, "ORIEL_LISTEN=0.0.0.0:8080") || at(doc, "services", "oriel", "ports", 0) != "127.0.0.1:8080:8080" {
		t.Error("the ports do not fit")
	}
	for _, service := range []string{"oriel", "postgres"} {
		if at(doc, "services", service) == nil || at(doc, "services", service, "secrets", 0) == nil {
			t.Errorf("service %s has no secret", service)
		}
	}
	for secret := range at(doc, "secrets").(map[string]any) { //nolint:forcetypeassert // a panic says it too
		if file, _ := at(doc, "secrets", secret, "file").(string); !strings.HasPrefix(file, "./secrets/") {
			t.Errorf("secret %s is not a file", secret)
		}
	}
}
