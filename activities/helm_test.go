package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

const configMap = `
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
data: {size: "{{ .Values.size }}"}
`

func app() plan.Command {
	return plan.Command{Kind: plan.KindHelm, Name: "app", Helm: &plan.Helm{Chart: "chart", Values: []string{"values.yaml"}}}
}

func absent() plan.Command {
	c := app()
	c.Helm = &plan.Helm{Chart: "chart", Absent: true, Undoes: "app"}
	return c
}

// helmBench is a bench with a chart of two ConfigMaps whose values come from the resource.
func helmBench(t *testing.T) *bench {
	b := newBench(t)
	b.op.Files["values.yaml"] = "size: {{ .cr.spec.size }}\n"
	b.chart(map[string]string{"a.yaml": fmt.Sprintf(configMap, "a"), "b.yaml": fmt.Sprintf(configMap, "b")})
	return b
}

// release is Helm's SDK for the bench's release.
func (b *bench) release() *client {
	b.Helper()
	h, err := b.attempt(app(), nil).helmClient("demo-app", b.ns)
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// records is the history in words: "1 superseded, 2 deployed".
func (b *bench) history() string {
	b.Helper()
	rs, err := b.release().history()
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("%d %s", r.Version, r.Info.Status))
	}
	return strings.Join(out, ", ")
}

// mark writes a status into the record of a revision, as a crash would have left it.
func (b *bench) mark(revision int, status release.Status) {
	b.Helper()
	h := b.release()
	r, err := h.config.Releases.Get("demo-app", revision)
	if err != nil {
		b.Fatal(err)
	}
	r.Info.Status = status
	if err := h.config.Releases.Update(r); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wantHistory(want string) {
	b.Helper()
	if got := b.history(); got != want {
		b.Fatalf("history: got %q, want %q", got, want)
	}
}

func (b *bench) wantSize(name, want string) {
	b.Helper()
	u := b.object("v1", "ConfigMap", name)
	if u == nil {
		b.Fatalf("ConfigMap %s is not there", name)
	}
	if got := u.Object["data"].(map[string]any)["size"]; got != want {
		b.Fatalf("ConfigMap %s: got %v, want %s", name, got, want)
	}
}

func TestHelmLife(t *testing.T) {
	b := helmBench(t)
	first := b.must((*attempt).helm, app())
	want := plan.CommandResult{
		Changed: true, Message: fmt.Sprintf("installed release %q in %s, revision 1", "demo-app", b.ns),
		Release: &plan.Release{Name: "demo-app", Namespace: b.ns, Revision: 1},
	}
	if d := cmp.Diff(want, first); d != "" {
		t.Fatal(d)
	}
	b.wantSize("a", "one")
	if got := b.object("v1", "ConfigMap", "a").GetLabels()[plan.InstanceLabel]; got != b.instance.Label() {
		t.Errorf("label: got %q", got)
	}
	version := b.object("v1", "ConfigMap", "a").GetResourceVersion()
	if again := b.must((*attempt).helm, app()); again.Changed || again.Release.Revision != 1 {
		t.Errorf("again: %+v", again)
	}
	b.setSpec("{size: two}")
	if up := b.must((*attempt).helm, app()); !up.Changed || up.Release.Revision != 2 {
		t.Errorf("upgrade: %+v", up)
	}
	b.wantSize("a", "two")
	b.wantHistory("1 superseded, 2 deployed")
	if b.object("v1", "ConfigMap", "a").GetResourceVersion() == version {
		t.Error("the upgrade wrote nothing")
	}
	b.remove("v1", "ConfigMap", "b")
	if res := b.must((*attempt).helm, app()); !res.Changed {
		t.Errorf("a missing object: %+v", res)
	}
	b.wantSize("b", "two")
	if gone := b.must((*attempt).helm, absent()); !gone.Changed {
		t.Errorf("uninstall: %+v", gone)
	}
	b.wantHistory("")
	if b.object("v1", "ConfigMap", "a") != nil {
		t.Error("a is still there")
	}
	if again := b.must((*attempt).helm, absent()); again.Changed {
		t.Errorf("uninstall again: %+v", again)
	}
}

// wantGone waits a moment for the garbage collector.
func (b *bench) wantGone(name string) {
	b.Helper()
	b.eventually(func() error {
		if b.object("v1", "ConfigMap", name) != nil {
			return fmt.Errorf("ConfigMap %s is left", name)
		}
		return nil
	})
}

// Each window is a moment at which a process can die between two writes of Helm's.
func TestHelmCrashWindows(t *testing.T) {
	three := func(b *bench) { b.setSpec("{size: three}") }
	upgraded := func(b *bench) {
		b.must((*attempt).helm, app())
		b.setSpec("{size: two}")
		b.must((*attempt).helm, app())
	}
	tests := map[string]struct {
		crash   func(b *bench)
		command plan.Command
		history string
		a       string // the size in ConfigMap a; empty: it is gone
	}{
		"first record written, nothing made": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusPendingInstall)
			b.remove("v1", "ConfigMap", "a")
			b.remove("v1", "ConfigMap", "b")
		}, app(), "1 deployed", "one"},
		"half of the objects made": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusPendingInstall)
			b.remove("v1", "ConfigMap", "a")
		}, app(), "1 deployed", "one"},
		"all made, not recorded": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusPendingInstall)
		}, app(), "1 deployed", "one"},
		"install interrupted, and other values by now": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusPendingInstall)
			three(b)
		}, app(), "1 failed, 2 deployed", "three"},
		"upgrade before the old record": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingUpgrade)
			b.mark(1, release.StatusDeployed)
		}, app(), "1 superseded, 2 deployed", "two"},
		"upgrade after the old record": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingUpgrade)
		}, app(), "1 superseded, 2 deployed", "two"},
		"upgrade interrupted, and other values by now": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingUpgrade)
			b.mark(1, release.StatusDeployed)
			three(b)
		}, app(), "1 superseded, 2 failed, 3 deployed", "three"},
		"upgrade interrupted after the old record, and other values by now": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingUpgrade)
			three(b)
		}, app(), "1 superseded, 2 superseded, 3 deployed", "three"},
		"rollback": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingRollback)
		}, app(), "1 superseded, 2 deployed", "two"},
		"failed upgrade of the same": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusFailed)
			b.mark(1, release.StatusDeployed)
		}, app(), "1 superseded, 2 deployed", "two"},
		"failed install of the same": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusFailed)
		}, app(), "1 deployed", "one"},
		"uninstalling, half gone, wanted again": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusUninstalling)
			b.remove("v1", "ConfigMap", "a")
		}, app(), "1 deployed", "one"},
		"uninstalling, half gone": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusUninstalling)
			b.remove("v1", "ConfigMap", "a")
		}, absent(), "", ""},
		"uninstalled, history kept": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusUninstalled)
			b.remove("v1", "ConfigMap", "a")
			b.remove("v1", "ConfigMap", "b")
		}, app(), "1 superseded, 2 deployed", "one"},
		"uninstalled, records left": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusUninstalled)
			b.remove("v1", "ConfigMap", "a")
			b.remove("v1", "ConfigMap", "b")
		}, absent(), "", ""},
		"uninstall of an interrupted install": {func(b *bench) {
			b.must((*attempt).helm, app())
			b.mark(1, release.StatusPendingInstall)
		}, absent(), "", ""},
		"uninstall of an interrupted upgrade": {func(b *bench) {
			upgraded(b)
			b.mark(2, release.StatusPendingUpgrade)
			b.mark(1, release.StatusDeployed)
		}, absent(), "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := helmBench(t)
			tt.crash(b)
			b.must((*attempt).helm, tt.command)
			b.wantHistory(tt.history)
			if tt.a != "" {
				b.wantSize("a", tt.a)
				b.wantSize("b", tt.a)
			} else if b.object("v1", "ConfigMap", "a") != nil || b.object("v1", "ConfigMap", "b") != nil {
				t.Error("objects are left")
			}
			if res := b.must((*attempt).helm, tt.command); res.Changed {
				t.Errorf("the next attempt: %+v", res)
			}
		})
	}
}

// What an attempt made that no later revision names must go, whichever way the release moves on.
func TestHelmLeavesNothingBehind(t *testing.T) {
	with := map[string]string{"a.yaml": fmt.Sprintf(configMap, "a"), "extra.yaml": fmt.Sprintf(configMap, "extra")}
	without := map[string]string{"a.yaml": fmt.Sprintf(configMap, "a")}
	for _, status := range []release.Status{release.StatusPendingInstall, release.StatusFailed, release.StatusDeployed} {
		t.Run("first revision "+string(status), func(t *testing.T) {
			b := helmBench(t)
			b.chart(with)
			b.must((*attempt).helm, app())
			b.mark(1, status)
			b.chart(without)
			b.must((*attempt).helm, app())
			b.wantGone("extra")
			b.wantSize("a", "one")
		})
	}
	for name, command := range map[string]plan.Command{"upgrade": app(), "uninstall": absent()} {
		t.Run("second revision interrupted, then "+name, func(t *testing.T) {
			b := helmBench(t)
			b.chart(without)
			b.must((*attempt).helm, app())
			b.chart(with)
			b.must((*attempt).helm, app())
			b.mark(2, release.StatusPendingUpgrade)
			b.mark(1, release.StatusDeployed)
			b.chart(map[string]string{"a.yaml": fmt.Sprintf(configMap, "a") + "# changed\n"})
			b.must((*attempt).helm, command)
			b.wantGone("extra")
		})
	}
}

// A failing install succeeds as soon as its cause is gone, at the revision that it would have had.
func TestHelmFailuresHeal(t *testing.T) {
	t.Run("no namespace", func(t *testing.T) {
		b := helmBench(t)
		c := app()
		c.Helm.Namespace = b.ns + "-later"
		b.fails((*attempt).helm, c, TypeNotFound, false)
		b.namespace(b.ns + "-later")
		if res := b.must((*attempt).helm, c); res.Release.Revision != 1 {
			t.Errorf("%+v", res)
		}
	})
	t.Run("an object is someone else's", func(t *testing.T) {
		b := helmBench(t)
		b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: %s}}", b.ns))
		f := b.fails((*attempt).helm, app(), TypeConflict, false)
		if f.Hint == "" || !strings.Contains(f.Error(), `ConfigMap "b"`) {
			t.Errorf("%v; %s", f, f.Hint)
		}
		b.remove("v1", "ConfigMap", "b")
		b.must((*attempt).helm, app())
		b.wantHistory("1 deployed")
	})
	t.Run("a kind is missing", func(t *testing.T) {
		b := helmBench(t)
		group := b.ns + ".example.com"
		b.chart(map[string]string{"a.yaml": fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: x}\n", group)})
		b.fails((*attempt).helm, app(), TypeNoMatch, false)
		crd := strings.ReplaceAll(widgetCRD, "test.mainstay.dev", group)
		b.applyRaw(crd)
		b.Cleanup(func() { b.remove("apiextensions.k8s.io/v1", "CustomResourceDefinition", "widgets."+group) })
		b.eventually(func() error {
			_, err := b.run((*attempt).helm, app(), time.Minute)
			return err
		})
		b.wantHistory("1 deployed")
	})
	t.Run("a quota", func(t *testing.T) {
		b := helmBench(t)
		b.applyRaw(fmt.Sprintf("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q, namespace: %s}, spec: {hard: {count/configmaps: 1}}}", b.ns))
		b.eventually(func() error {
			if q := b.object("v1", "ResourceQuota", "q"); q == nil || q.Object["status"] == nil || len(q.Object["status"].(map[string]any)) == 0 {
				return fmt.Errorf("the quota is not counted yet")
			}
			return nil
		})
		b.fails((*attempt).helm, app(), TypeDenied, false)
		b.remove("v1", "ResourceQuota", "q")
		b.eventually(func() error {
			_, err := b.run((*attempt).helm, app(), time.Minute)
			return err
		})
		b.wantHistory("1 deployed")
	})
	t.Run("a wrong chart, corrected", func(t *testing.T) {
		b := helmBench(t)
		b.chart(map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999}]}\n", "b.yaml": fmt.Sprintf(configMap, "b")})
		b.fails((*attempt).helm, app(), TypeInvalid, true)
		b.wantHistory("1 failed")
		b.fails((*attempt).helm, app(), TypeInvalid, true)
		b.wantHistory("1 failed")
		b.chart(map[string]string{"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"})
		b.must((*attempt).helm, app())
		b.wantHistory("1 failed, 2 deployed")
		b.wantGone("b")
	})
}

func TestHelmTerminal(t *testing.T) {
	tests := map[string]struct {
		template string
		kind     string
		says     string
	}{
		"a typo in a field":     {"apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {portz: [{port: 80}]}\n", TypeInvalid, "portz"},
		"a template's fault":    {"{{ fail \"no such size\" }}", TypeChart, "no such size"},
		"not YAML":              {"apiVersion: v1\nkind: [\n", TypeChart, ""},
		"no kind":               {"apiVersion: v1\nmetadata: {name: s}\n", TypeChart, "app/templates/a.yaml): kind is missing"},
		"values that don't fit": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {size: {deep: {}}}\n", TypeInvalid, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := helmBench(t)
			b.chart(map[string]string{"a.yaml": tt.template})
			f := b.fails((*attempt).helm, app(), tt.kind, true)
			if !strings.Contains(f.message(), tt.says) {
				t.Errorf("message: %s", f.message())
			}
		})
	}
	t.Run("no chart", func(t *testing.T) {
		b := helmBench(t)
		c := app()
		c.Helm.Chart = "nowhere"
		b.fails((*attempt).helm, c, TypeChart, true)
	})
	t.Run("values are no mapping", func(t *testing.T) {
		b := helmBench(t)
		b.op.Files["values.yaml"] = "- secret\n"
		f := b.fails((*attempt).helm, app(), TypeInvalid, true)
		if !strings.Contains(f.message(), "values.yaml") || strings.Contains(f.message(), "secret") {
			t.Errorf("message: %s", f.message())
		}
	})
	t.Run("a template of values at fault", func(t *testing.T) {
		b := helmBench(t)
		b.op.Files["values.yaml"] = "size: {{ .cr.spec.nothing }}\n"
		b.fails((*attempt).helm, app(), TypeTemplate, true)
	})
}

// A user who may not create ConfigMaps gets a clear no; the same 403 from a quota is retried (see the test above).
func TestHelmForbidden(t *testing.T) {
	b := helmBench(t)
	ctx := context.Background()
	allow := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "some"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"test.mainstay.dev"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}},
	}}
	if _, err := b.cluster.typed.RbacV1().Roles(b.ns).Create(ctx, allow, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.cluster.typed.RbacV1().RoleBindings(b.ns).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "some"}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "some"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "limited", APIGroup: "rbac.authorization.k8s.io"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	limited := rest.CopyConfig(b.cluster.config)
	limited.WrapTransport = nil
	limited.Impersonate = rest.ImpersonationConfig{UserName: "limited", Groups: []string{"system:authenticated"}}
	c, err := newCluster(limited)
	if err != nil {
		t.Fatal(err)
	}
	admin := b.cluster
	b.cluster = c
	b.eventually(func() error { // the authorizer learns of a role a moment later
		_, err := b.run((*attempt).helm, app(), time.Minute)
		if f, ok := err.(*fault); !ok || f.Type != TypeForbidden || !f.Terminal || !strings.Contains(f.Hint, "configmaps") {
			return fmt.Errorf("%v; %+v", err, f)
		}
		return nil
	})
	b.cluster = admin
}

func TestHelmForeignRelease(t *testing.T) {
	b := helmBench(t)
	b.must((*attempt).helm, app())
	mine := b.instance
	b.instance.Name = "other"
	b.instance.UID = ""
	b.applyRaw(fmt.Sprintf("apiVersion: test.mainstay.dev/v1\nkind: Widget\nmetadata: {name: other, namespace: %s}\nspec: {size: two}\n", b.ns))
	c := app()
	c.Helm.Release = "demo-app"
	if f := b.fails((*attempt).helm, c, TypeConflict, false); f.Hint == "" {
		t.Error("no hint")
	}
	c = absent()
	c.Helm.Release = "demo-app"
	if res := b.must((*attempt).helm, c); res.Changed {
		t.Errorf("%+v", res)
	}
	b.wantSize("a", "one")
	b.instance = mine
	b.must((*attempt).helm, absent())
}

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {"kubernetes.io/hostname": "{{ .Values.size }}"}
      containers: [{name: web, image: example.com/web}]
`

// The attempt's end names what blocks; the next attempt goes on waiting and upgrades nothing.
func TestHelmWaits(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{"web.yaml": deployment})
	for range 2 {
		_, err := b.run((*attempt).helm, app(), 4*time.Second)
		f, ok := err.(*fault)
		if !ok || f.Type != TypeNotReady || f.Terminal || !f.Benign || !strings.Contains(f.Error(), "Deployment "+b.ns+"/web (") {
			t.Fatalf("got %v", err)
		}
		b.wantHistory("1 deployed")
	}
	nodes, err := b.cluster.typed.CoreV1().Nodes().List(context.Background(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) == 0 {
		t.Skipf("the cluster has no nodes: %v", err)
	}
	b.setSpec("{size: " + nodes.Items[0].Labels[corev1.LabelHostname] + "}")
	if res := b.must((*attempt).helm, app()); res.Release.Revision != 2 {
		t.Errorf("%+v", res)
	}
}

func TestHelmStops(t *testing.T) {
	b := helmBench(t)
	b.chart(map[string]string{"web.yaml": deployment})
	at := b.attempt(app(), nil)
	stop := make(chan struct{})
	at.stop = stop
	time.AfterFunc(2*time.Second, func() { close(stop) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	start := time.Now()
	_, err := at.helm(ctx)
	if f := classify(err); f.Type != TypeStopping || time.Since(start) > 20*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	b.wantHistory("1 deployed")
}
