package sense

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRedact(t *testing.T) {
	secrets := virtual.Kind{Version: "v1", Kind: "Secret"}
	text := `{"apiVersion":"v1","kind":"Secret","type":"Opaque","metadata":{"name":"s","uid":"u1","labels":{"a":"b"},` +
		`"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"password\":\"aHVudGVyMg==\"}}","team":"x"}},` +
		`"data":{"password":"aHVudGVyMg==","again":"aHVudGVyMg==","empty":"","odd":7},"stringData":{"plain":"hunter2"}}`
	one := decoded(t, text)
	Redact(secrets, one)
	out, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "hunter2") || strings.Contains(string(out), "aHVudGVyMg") {
		t.Errorf("a value is left: %s", out)
	}
	data := one["data"].(map[string]any)
	for name, value := range data {
		if v := value.(string); !IsDigest(v) || len(v) != len("sha256:")+16 {
			t.Errorf("%s: %q is no digest", name, v)
		}
	}
	if data["password"] != data["again"] || data["password"] == data["empty"] {
		t.Errorf("equal values have equal digests, and only they: %v", data)
	}
	if d := cmp.Diff(map[string]any{"team": "x"}, one["metadata"].(map[string]any)["annotations"]); d != "" {
		t.Error(d)
	}

	before := decoded(t, string(out))
	Redact(secrets, one)
	if d := cmp.Diff(before, one); d != "" {
		t.Errorf("the second time: %s", d)
	}
	other := decoded(t, strings.Replace(text, `"u1"`, `"u2"`, 1))
	Redact(secrets, other)
	if other["data"].(map[string]any)["password"] == data["password"] {
		t.Error("two Secrets show that they hold the same value")
	}
	for _, kind := range []virtual.Kind{{Version: "v1", Kind: "ConfigMap"}, {Group: "example.com", Version: "v1", Kind: "Secret"}} {
		object := decoded(t, text)
		if Redact(kind, object); cmp.Diff(decoded(t, text), object) != "" {
			t.Errorf("%s: was touched", kind)
		}
	}
	bare := decoded(t, `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}},"data":"x"}`)
	if Redact(secrets, bare); cmp.Diff(map[string]any{"metadata": map[string]any{}}, bare) != "" {
		t.Errorf("got %v", bare)
	}
}
