package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sort"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/discovery"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// requestTimeout bounds one request of Helm's, which takes no context for it.
const requestTimeout = time.Minute

// maxHistory is how many revisions of a release are kept.
const maxHistory = 10

func init() {
	// Helm takes its field manager from a global, or else from the program's file name, which differs in tests.
	kube.ManagedFieldsManager = fieldManager
}

// client is Helm's SDK for one release: the only place, with the files named helm_…, that talks to Helm.
//
// Not used of Helm: its waiting (polls, and knows no reasons), its OpenAPI validation (slow; the API server validates
// fields strictly instead), its locking by pending records (a crash leaves them for ever) and its client limits.
type client struct {
	name, namespace string
	config          *action.Configuration
	records         *records
	objects         *objects
	rec             *record
}

func (t *attempt) helmClient(name, namespace string) (*client, error) {
	h := &client{name: name, namespace: namespace, rec: t.rec}
	plain, strict := rest.CopyConfig(t.cluster.config), rest.CopyConfig(t.cluster.config)
	plain.Timeout, strict.Timeout = requestTimeout, requestTimeout
	plain.Wrap(func(next http.RoundTripper) http.RoundTripper { return &recorder{next: next, to: t.rec} })
	strict.Wrap(func(next http.RoundTripper) http.RoundTripper { return &recorder{next: next, to: t.rec, strict: true} })
	core, err := corev1client.NewForConfig(plain)
	if err != nil {
		return nil, fmt.Errorf("client of Helm's records: %w", err)
	}
	getter := &getter{config: strict, cluster: t.cluster, namespace: namespace}
	k := kube.New(getter)
	k.Namespace = namespace
	h.records = &records{Driver: driver.NewSecrets(core.Secrets(namespace))}
	h.objects = &objects{Client: k, rec: t.rec}
	h.config = &action.Configuration{
		RESTClientGetter: getter,
		KubeClient:       h.objects,
		Releases:         storage.Init(h.records),
		Log:              func(string, ...any) {}, // Helm logs values
		HookOutputFunc:   func(_, _, _ string) io.Writer { return io.Discard },
	}
	h.config.Releases.MaxHistory = maxHistory
	return h, nil
}

// history are the release's records, oldest first. None is no error.
func (h *client) history() ([]*release.Release, error) {
	rs, err := h.config.Releases.History(h.name)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, fmt.Errorf("read the history of release %q: %w", h.name, err)
	}
	releaseutil.SortByRevision(rs)
	return rs, nil
}

// drop deletes a record. It must not be the only trace of objects that nothing else knows of.
func (h *client) drop(r *release.Release) error {
	_, err := h.config.Releases.Delete(r.Name, r.Version)
	if err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
		return fmt.Errorf("delete the record of release %q, revision %d: %w", r.Name, r.Version, err)
	}
	return nil
}

// explain judges an error of Helm's, whose own errors are mostly text: what the API server refused meanwhile is the
// cause. If it refused nothing, the moment tells: before the chart has rendered it is the chart's fault; between that
// and the first record, Helm has found objects that are not the release's; afterwards it may be a hook. Post is nil for
// an uninstall, which renders nothing.
func (h *client) explain(err error, post *labeller) error {
	var own *fault
	switch refusals := h.rec.all(); {
	case errors.As(err, &own), asNoMatch(err), errors.Is(err, driver.ErrNoDeployedReleases), errors.Is(err, driver.ErrReleaseExists):
		return err
	case h.objects.hook != nil:
		return retryable(TypeNotReady, err, "look at the hook's Job or Pod; it is run again at the next attempt")
	case len(refusals) > 0:
		causes := make([]error, len(refusals))
		for i, r := range refusals {
			causes[i] = r.err
		}
		return &refused{err: err, causes: causes}
	case classify(err).Type != TypeInternal || post == nil || h.records.created:
		return err
	case !post.ran:
		return terminal(TypeChart, err, "render the chart with the same values to see the fault")
	}
	return retryable(TypeConflict, err, "delete the object that the message names, or let another release name it")
}

// records is Helm's storage. Helm logs the failure of an update and calls the action a success: this remembers it.
type records struct {
	driver.Driver
	failed error
	// created tells that the action has begun: its record stands.
	created bool
	// replaced is a record that the next one of its revision takes the place of. Until then it is hidden from Helm and
	// stays in the cluster: it may be the only trace of what its attempt made.
	replaced *release.Release
}

func (r *records) hides(rls *release.Release) bool {
	return r.replaced != nil && rls != nil && rls.Name == r.replaced.Name && rls.Version == r.replaced.Version
}

// Get implements driver.Queryor.
func (r *records) Get(key string) (*release.Release, error) {
	rls, err := r.Driver.Get(key)
	if r.hides(rls) {
		return nil, driver.ErrReleaseNotFound
	}
	return rls, err
}

// List implements driver.Queryor.
func (r *records) List(filter func(*release.Release) bool) ([]*release.Release, error) {
	return r.Driver.List(func(rls *release.Release) bool { return !r.hides(rls) && filter(rls) })
}

// Query implements driver.Queryor.
func (r *records) Query(labels map[string]string) ([]*release.Release, error) {
	list, err := r.Driver.Query(labels)
	if err != nil {
		return nil, err
	}
	if list = slices.DeleteFunc(list, r.hides); len(list) == 0 {
		return nil, driver.ErrReleaseNotFound
	}
	return list, nil
}

// Create implements driver.Creator.
func (r *records) Create(key string, rls *release.Release) error {
	if r.hides(rls) {
		if _, err := r.Driver.Delete(key); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) {
			return err
		}
		r.replaced = nil
	}
	err := r.Driver.Create(key, rls)
	r.created = r.created || err == nil
	return err
}

// Update implements driver.Updator.
func (r *records) Update(key string, rls *release.Release) error {
	err := r.Driver.Update(key, rls)
	if err != nil {
		r.failed = err
	}
	return err
}

// objects is Helm's Kubernetes client without client-side validation, for hooks neither, and with errors that tell a
// manifest's fault from the server's.
type objects struct {
	*kube.Client
	// lenient lets objects be whose kind the server no longer knows.
	lenient bool
	// hook is why the last hook didn't get ready.
	hook error
	rec  *record
}

// WatchUntilReady implements kube.Interface. Only hooks are waited for in this way.
func (o *objects) WatchUntilReady(list kube.ResourceList, timeout time.Duration) error {
	err := o.Client.WatchUntilReady(list, timeout)
	if err != nil {
		o.hook = err
	}
	return err
}

// Build implements kube.Interface.
func (o *objects) Build(r io.Reader, _ bool) (kube.ResourceList, error) {
	list, err := o.Client.Build(r, false)
	switch {
	case err == nil:
		return list, nil
	case o.lenient && utilerrors.FilterOut(err, asNoMatch) == nil:
		return list, nil
	case asNoMatch(err) || classify(err).Type != TypeInternal:
		return list, err
	}
	// Such an error may quote the whole manifest.
	text, _, _ := strings.Cut(err.Error(), "'{")
	return list, terminal(TypeChart, errors.New(text), "the chart renders to something that is no Kubernetes object")
}

// getter is how Helm finds the cluster: clients of its own, discovery shared with the whole process.
type getter struct {
	config    *rest.Config
	cluster   *cluster
	namespace string
}

// ToRESTConfig implements genericclioptions.RESTClientGetter.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient implements genericclioptions.RESTClientGetter.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.cluster.discovery, nil
}

// ToRESTMapper implements genericclioptions.RESTClientGetter.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.cluster.mapper, nil }

// ToRawKubeConfigLoader implements genericclioptions.RESTClientGetter.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), &clientcmd.ConfigOverrides{
		Context: clientcmdapi.Context{Namespace: g.namespace},
	})
}

// part is one object of a release.
type part struct {
	ref plan.ObjectRef
	// kept: Helm's resource policy says that uninstalling leaves it.
	kept bool
	// fleeting: it goes by itself when it is done, so that its absence is no lack.
	fleeting bool
}

// parts reads the objects of a release out of its manifest. Objects of kinds that the server doesn't know are left out.
func (t *attempt) parts(r *release.Release) ([]part, error) {
	objects, err := parseManifest(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read the manifest of release %q, revision %d: %w", r.Name, r.Version, err)
	}
	var out []part
	for _, u := range objects {
		if err := t.cluster.place(u, r.Namespace); err != nil {
			if asNoMatch(err) {
				continue
			}
			return nil, err
		}
		_, ttl, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "ttlSecondsAfterFinished")
		out = append(out, part{
			ref: refOf(u), fleeting: ttl && u.GetKind() == "Job",
			kept: strings.EqualFold(strings.TrimSpace(u.GetAnnotations()[kube.ResourcePolicyAnno]), kube.KeepPolicy),
		})
	}
	return out, nil
}

// leftovers deletes what records of the release name and its current parts don't, as long as the objects say that they
// are the release's: Helm compares with one earlier revision only, so that what a failed one made would stay for ever.
func (t *attempt) leftovers(ctx context.Context, h *client, current []part, records []*release.Release) (deleted []plan.ObjectRef, err error) {
	known := map[plan.ObjectRef]bool{}
	for _, p := range current {
		known[p.ref] = true
	}
	for _, r := range records {
		parts, err := t.parts(r)
		if err != nil {
			return deleted, err
		}
		for _, p := range parts {
			if known[p.ref] || p.kept {
				continue
			}
			known[p.ref] = true
			u, err := t.cluster.get(ctx, p.ref)
			if err != nil {
				return deleted, err
			}
			if u == nil || u.GetAnnotations()["meta.helm.sh/release-name"] != h.name || u.GetAnnotations()["meta.helm.sh/release-namespace"] != h.namespace {
				continue
			}
			if err := t.cluster.delete(ctx, u); err != nil {
				return deleted, err
			}
			deleted = append(deleted, p.ref)
		}
	}
	sort.Slice(deleted, func(i, j int) bool { return describe(deleted[i]) < describe(deleted[j]) })
	return deleted, nil
}
