package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"
)

// file is a settings file as a source for kong.
type file struct {
	settings map[string]any
}

// Load reads a settings file for kong.Configuration.
func Load(r io.Reader) (kong.Resolver, error) {
	tree := make(map[string]any)
	if err := yaml.NewDecoder(r).Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("settings file: %w", err)
	}
	f := &file{settings: make(map[string]any)}
	return f, f.flatten("", tree)
}

// flatten turns sessions: {reconnect: refresh} into sessions-reconnect, the
// flag's name.
func (f *file) flatten(prefix string, tree map[string]any) error {
	for k, v := range tree {
		name := prefix + strings.ReplaceAll(k, "_", "-")
		switch v := v.(type) {
		case map[string]any:
			if err := f.flatten(name+"-", v); err != nil {
				return err
			}
		case []any:
			list := make([]string, len(v))
			for i, e := range v {
				list[i] = fmt.Sprint(e)
			}
			f.settings[name] = strings.Join(list, ",")
		case nil:
			return fmt.Errorf("settings file: %s has no value", strings.ReplaceAll(name, "-", "."))
		default:
			f.settings[name] = fmt.Sprint(v)
		}
	}
	return nil
}

// Validate implements kong.Resolver: a key that is no setting is a mistake.
func (f *file) Validate(app *kong.Application) error {
	var known []string
	_ = kong.Visit(app, func(n kong.Visitable, next kong.Next) error {
		if flag, ok := n.(*kong.Flag); ok && len(flag.Tag.Envs) > 0 {
			known = append(known, flag.Name)
		}
		return next(nil)
	})
	var unknown []string
	for name := range f.settings {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("settings file: there is no setting %s (see oriel serve --help; --sessions-idle is written sessions: {idle: …})", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve implements kong.Resolver. The environment is stronger.
func (f *file) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if len(flag.Tag.Envs) == 0 {
		return nil, nil
	}
	for _, env := range flag.Tag.Envs {
		if _, ok := os.LookupEnv(env); ok {
			return nil, nil
		}
	}
	return f.settings[flag.Name], nil
}
