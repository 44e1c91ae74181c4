package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/catamaran-io/catamaran"

// rules say what the product's packages (tests apart) may import of each other.
// The first rule whose prefix fits a package is the one that binds it.
var rules = []struct {
	pkg     string   // path below the module, a prefix at a slash
	allowed []string // prefixes below the module
}{
	{"protocol", []string{"protocol"}},
	{"proxy", []string{"proxy", "protocol"}},
	{"mirror", []string{"mirror", "protocol"}},
	{"failover", []string{"failover"}},
	{"sidecar", []string{"sidecar", "proxy", "mirror", "failover", "protocol"}},
	{"integration", []string{"integration", "sidecar", "proxy", "mirror", "failover", "protocol"}},
	{"", []string{"sidecar"}}, // the binary
}

// impure is what protocol must not import: it has no network, clock,
// goroutines, files or log.
var impure = []string{"net", "time", "log", "sync", "os", "context"}

// consulClient is the Consul client, which only failover/consul knows.
const consulClient = "github.com/hashicorp/consul/api"

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for pkg, imports := range productImports(t) {
		rule := slices.IndexFunc(rules, func(r struct {
			pkg     string
			allowed []string
		}) bool {
			return within(pkg, r.pkg)
		})
		for _, imp := range imports {
			if own, ok := strings.CutPrefix(imp.path, module+"/"); ok && !slices.ContainsFunc(rules[rule].allowed, func(a string) bool { return within(own, a) }) {
				t.Errorf("%s: package %s imports %s, it may import %v", imp.file, pkg, own, rules[rule].allowed)
			}
			if within(imp.path, consulClient) && !within(pkg, "failover/consul") && !within(pkg, "integration") {
				t.Errorf("%s: only failover/consul imports the Consul client", imp.file)
			}
			if within(pkg, "protocol") && slices.ContainsFunc(impure, func(i string) bool { return within(imp.path, i) }) {
				t.Errorf("%s: protocol is pure and imports %s", imp.file, imp.path)
			}
		}
	}
}

// within says whether path is prefix or below it; everything is below "".
func within(path, prefix string) bool {
	return prefix == "" || path == prefix || strings.HasPrefix(path, prefix+"/")
}

type importOf struct{ file, path string }

// productImports are the imports of every package that is built, by its path
// below the module. Tests may import anything.
func productImports(t *testing.T) map[string][]importOf {
	t.Helper()
	out := make(map[string][]importOf)
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(p))
		if pkg == "." {
			pkg = ""
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out[pkg] = append(out[pkg], importOf{p, path})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"protocol", "proxy", "mirror", "failover", "sidecar"} {
		if len(out[pkg]) == 0 {
			t.Errorf("package %s was not found: the rules check nothing", pkg)
		}
	}
	return out
}
