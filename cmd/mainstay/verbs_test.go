package main

import (
	"bytes"
	"strings"
	"testing"
)

func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetOut(&out)
	c.SetErr(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestVersion(t *testing.T) {
	out, err := execute(t, "version")
	if err != nil || !strings.HasPrefix(out, "mainstay ") || !strings.Contains(out, "go1.") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestRunSaysWhatIsMissing(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	t.Setenv("HOME", t.TempDir())
	cases := []struct{ args, want string }{
		{"run", `"operators" not set`},
		{"run --operators x --log-level loud", `log level "loud" is not one of`},
		{"run --operators x --log-format xml", `log format "xml" is not one of`},
		{"run --operators x", "no Kubernetes to connect to"},
		{"run --operators x extra", `unknown command "extra"`},
	}
	for _, c := range cases {
		if _, err := execute(t, strings.Fields(c.args)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("mainstay %s: %v, want %q", c.args, err, c.want)
		}
	}
}
