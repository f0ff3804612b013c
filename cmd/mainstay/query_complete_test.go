package main

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCompletion(t *testing.T) {
	c := newFakeCluster(t, "")
	cases := []struct {
		text string
		want []string
	}{
		{"SELECT * FROM serv", []string{"services"}},
		{"SELECT * from\n\tSER", []string{"services"}},
		{"SELECT * FROM pods p JOIN dep", []string{"deployments"}},
		{"SELECT * FROM pods, [widgets.a.example.com] AS w,nod", []string{"nodes"}},
		{"SELECT * FROM re", []string{"replicasets", "resources"}},
		{"SELECT * FROM wid", []string{"[widgets.a.example.com]", "[widgets.b.example.com]"}},
		{`SELECT * FROM "wid`, []string{`"widgets.a.example.com"`, `"widgets.b.example.com"`}},
		{"SELECT * FROM [deployments.", []string{"[deployments.apps]"}},
		{"SELECT * FROM deployments.", []string{"[deployments.apps]"}},
		{"SELECT * FROM events", []string{"[events.core]", "[events.events.k8s.io]"}},
		{"SELECT * FROM pods WHERE x IN (SELECT 1 FROM sec", []string{"secrets"}},
		{"SELECT * FROM bindings", nil},
		{"SELECT * FROM xyz", nil},
		{"SELECT na", nil},
		{"SELECT * FROM pods WHERE ser", nil},
		{"", nil},
	}
	for _, c2 := range cases {
		found, _ := completeStatement(t.Context(), c.connect, c2.text)
		at := max(strings.LastIndexAny(c2.text, " \t,")+1, 0)
		var got []string
		for _, f := range found {
			name, ok := strings.CutPrefix(f, c2.text[:at])
			if !ok {
				t.Errorf("%q: %q is another statement", c2.text, f)
			}
			got = append(got, name)
		}
		if d := cmp.Diff(c2.want, got); d != "" {
			t.Errorf("%q: %s", c2.text, d)
		}
	}
	down := func() (*cluster, error) { return nil, errors.New("no cluster") }
	dead := func() (*cluster, error) {
		return &cluster{preferred: func(context.Context) ([]*metav1.APIResourceList, error) { return nil, errors.New("refused") }}, nil
	}
	for _, connect := range []func() (*cluster, error){down, dead} {
		if found, _ := completeStatement(t.Context(), connect, "SELECT * FROM ingresse"); len(found) != 1 || found[0] != "SELECT * FROM ingresses" {
			t.Errorf("without a cluster: %v", found)
		}
	}
}

func TestCompletionScript(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	t.Setenv("HOME", t.TempDir())
	out, err := execute(t, "completion", "bash")
	if err != nil || !strings.Contains(out, "__start_mainstay") || !strings.HasSuffix(out, bashStatements) {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := execute(t, "completion", "zsh"); err != nil || strings.Contains(out, bashStatements) {
		t.Errorf("%v", err)
	}
	if out, err := execute(t, "__completeNoDesc", "query", "SELECT * FROM ingresse"); err != nil || !strings.HasPrefix(out, "SELECT * FROM ingresses\n:") {
		t.Errorf("%q, %v", out, err)
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash here")
	}
	// As bash calls it: the word begins with the quote that is open.
	script := out + `
mainstay() { [[ $1 == __completeNoDesc && $2 == query && $3 == 'SELECT * FROM serv' ]] && printf '%s\n' 'SELECT * FROM services' ':6'; }
compopt() { :; }
COMP_WORDS=(mainstay query '"SELECT * FROM serv') COMP_CWORD=2
__mainstay_statement mainstay
printf '<%s>' "${COMPREPLY[@]}"
__start_mainstay() { printf ' else cobra'; }
COMP_WORDS=(mainstay que) COMP_CWORD=1
__mainstay_statement mainstay
`
	got, err := exec.CommandContext(t.Context(), bash, "--norc", "-c", script).CombinedOutput()
	if err != nil || string(got) != "<SELECT * FROM services> else cobra" {
		t.Errorf("%v: %s", err, got)
	}
}
