package specs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/specs"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, dir, name string) {
	t.Helper()
	if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestDigest: same files, same digest, wherever they are; any difference of a name or a byte is another.
func TestDigest(t *testing.T) {
	first := load(t, folder(t, t.TempDir(), nil)).Plan.Digest
	if len(first) != 64 {
		t.Fatalf("digest %q", first)
	}
	same := folder(t, t.TempDir(), nil)
	for _, name := range []string{".git/HEAD", ".values.yaml.swp", "values.yaml~", "#values.yaml#", "..2026/values.yaml"} {
		write(t, same, name, "x")
	}
	if err := os.Chmod(filepath.Join(same, "values.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := load(t, same).Plan.Digest; got != first {
		t.Errorf("what editors and Git leave changes the digest")
	}
	seen := map[string]string{first: "base"}
	for name, files := range map[string]map[string]string{
		"content":          {"values.yaml": "a: 2\n"},
		"chart":            {"app/values.yaml": "a: 2\n"},
		"new file":         {"b.bin": "\x00"},
		"empty file":       {"b.bin": ""},
		"hidden file":      {".b": ""},
		"moved boundaries": {"values.yaml": "a: 1\nx", "patch.yaml": "a: 1\n"},
	} {
		d := load(t, folder(t, t.TempDir(), files)).Plan.Digest
		if other, ok := seen[d]; ok {
			t.Errorf("%q has the digest of %q", name, other)
		}
		seen[d] = name
	}
}

// TestFiles: the snapshot holds text outside of charts, and an edit doesn't reach it.
func TestFiles(t *testing.T) {
	dir := folder(t, t.TempDir(), map[string]string{
		"bin": "\x00\x01", "latin": "\xe4", "sub/part.yaml": "p: 1\n", "app/charts/sub/Chart.yaml": "name: sub\n", "app/x/y.yaml": "y: 1\n", "empty": "",
	})
	op := load(t, dir)
	write(t, dir, "values.yaml", "changed: true\n")
	var names []string
	for name := range op.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"crd.yaml", "empty", "operator.yaml", "patch.yaml", "sub/part.yaml", "values.yaml"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if op.Files["values.yaml"] != "a: 1\n" {
		t.Errorf("the snapshot changed: %q", op.Files["values.yaml"])
	}
}

// TestLinks: links within the folder are files like any other, also as Kubernetes makes them of a ConfigMap; those
// that lead out are mistakes, and what they lead to isn't read.
func TestLinks(t *testing.T) {
	dir := folder(t, t.TempDir(), nil)
	write(t, dir, "..data/linked.yaml", "l: 1\n")
	link(t, "..data/linked.yaml", dir, "linked.yaml")
	write(t, dir, "real/a.yaml", "a: 1\n")
	link(t, "real", dir, "alias")
	op := load(t, dir)
	if op.Files["linked.yaml"] != "l: 1\n" || op.Files["alias/a.yaml"] != "a: 1\n" {
		t.Errorf("links within the folder are not read: %v", op.Files)
	}

	outside := t.TempDir()
	write(t, outside, "secret", "hush")
	link(t, filepath.Join(outside, "secret"), dir, "absolute")
	link(t, outside, dir, "folder")
	link(t, "../../../../../etc/hostname", dir, "relative")
	link(t, "nowhere", dir, "broken")
	link(t, "..", dir, "real/up")
	link(t, ".", dir, "loop")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := specs.Load(dir)
	if err == nil {
		t.Fatal("no error")
	}
	out := "a symbolic link that leads out of the operator's folder; copy the file into the folder"
	want := []string{
		"absolute: " + out,
		"alias/up: a symbolic link that leads back to a folder above it",
		"broken: a symbolic link that leads nowhere",
		"folder: " + out,
		"loop: a symbolic link that leads back to a folder above it",
		"pipe: neither a file nor a folder",
		"real/up: a symbolic link that leads back to a folder above it",
		"relative: " + out,
	}
	if diff := cmp.Diff(want, strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "hush") {
		t.Error("the error tells what is in the linked file")
	}
}

func TestTooLarge(t *testing.T) {
	dir := folder(t, t.TempDir(), nil)
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(65 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = specs.Load(dir)
	if err == nil || !strings.HasPrefix(err.Error(), dir+": holds more than 64 MiB; is this the operator's folder?") {
		t.Errorf("error %v", err)
	}
}

// TestLoadAll: one operator's mistake is not another's.
func TestLoadAll(t *testing.T) {
	root := t.TempDir()
	folder(t, filepath.Join(root, "a"), nil)
	folder(t, filepath.Join(root, "b"), describe("default:\n  dfe: crd.yaml\n"))
	folder(t, filepath.Join(root, "c"), nil)
	folder(t, filepath.Join(root, "d"), map[string]string{"crd.yaml": strings.ReplaceAll(strings.ReplaceAll(widgets, "widgets", "gadgets"), "Widget", "Gadget")})
	folder(t, filepath.Join(root, ".hidden"), describe("x"))
	write(t, root, "notes/readme.txt", "no operator")
	write(t, root, "file.yaml", "no operator")

	ops, err := specs.LoadAll(root)
	var names []string
	for _, op := range ops {
		names = append(names, op.Plan.Name)
	}
	if diff := cmp.Diff([]string{"a", "d"}, names); diff != "" {
		t.Errorf("operators (-want +got):\n%s", diff)
	}
	want := `b/operator.yaml:2:3: unknown key "dfe" of profile default; did you mean "def"?
c/operator.yaml:2:8: widgets.example.com is served by the operator "a" already`
	if got := strings.ReplaceAll(err.Error(), root+"/", ""); got != want {
		t.Errorf("error\n%s\nwant\n%s", got, want)
	}

	one, err := specs.LoadAll(filepath.Join(root, "a"))
	if err != nil || len(one) != 1 || one[0].Plan.Name != "a" {
		t.Errorf("an operator's own folder: %v, %v", one, err)
	}
}

func TestLoadAllNothing(t *testing.T) {
	root := t.TempDir()
	write(t, root, "file", "x")
	write(t, root, "yml/operator.yml", "x")
	for dir, want := range map[string]string{
		"nope": "no such folder",
		"file": "is no folder; name the folder that holds operator.yaml",
		"":     "holds no operator: neither operator.yaml nor a folder with one",
		"yml":  "holds no operator: neither operator.yaml nor a folder with one; rename operator.yml to operator.yaml",
	} {
		dir := filepath.Join(root, dir)
		ops, err := specs.LoadAll(dir)
		if len(ops) != 0 || err == nil || err.Error() != dir+": "+want {
			t.Errorf("%s: %v, error %v", dir, ops, err)
		}
	}
	if _, err := specs.Load(root); err == nil || err.Error() != filepath.Join(root, "operator.yaml")+": no such file" {
		t.Errorf("Load of a folder without a description: %v", err)
	}
}
