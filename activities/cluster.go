package activities

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// fieldManager is Mainstay's name in managedFields.
const fieldManager = "mainstay"

// rediscoverEvery bounds how often a kind that isn't there makes us read the server's kinds anew: a hundred commands
// that wait for one CRD must not turn into a storm.
const rediscoverEvery = 2 * time.Second

// capabilitiesFor is how long a chart may see the server's version and kinds as they were. It is short, because the
// command before may have made the kind that the chart asks for, and long enough for many installs at once to share.
const capabilitiesFor = time.Second

// cluster is the API server as all activities of the process share it.
type cluster struct {
	config    *rest.Config
	dynamic   dynamic.Interface
	typed     kubernetes.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    *mapper

	capsMu sync.Mutex
	caps   *chartutil.Capabilities
	capsAt time.Time
	// capsOf is how often the kinds had been forgotten when caps was read.
	capsOf int64
}

func newCluster(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	if config.QPS == 0 && config.RateLimiter == nil {
		config.QPS = -1
	}
	// rest.Config.Wrap puts the recorder outermost: it sees what the client sees.
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &recorder{next: next} })
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("HTTP client: %w", err)
	}
	c := &cluster{config: config}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		return nil, fmt.Errorf("dynamic client: %w", err)
	}
	if c.typed, err = kubernetes.NewForConfigAndClient(config, client); err != nil {
		return nil, fmt.Errorf("typed client: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("discovery client: %w", err)
	}
	c.discovery = memory.NewMemCacheClient(d)
	c.mapper = &mapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(c.discovery)}
	return c, nil
}

// mapper finds the resource of a kind. client-go's own keeps saying "no such kind" for ever once it has read the
// server's kinds; this one reads them anew, so that a CRD installed a moment ago is found.
type mapper struct {
	*restmapper.DeferredDiscoveryRESTMapper
	mu     sync.Mutex
	last   time.Time
	resets atomic.Int64
}

// Reset implements meta.ResettableRESTMapper.
func (m *mapper) Reset() {
	m.resets.Add(1)
	m.DeferredDiscoveryRESTMapper.Reset()
}

// RESTMapping implements meta.RESTMapper.
func (m *mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.DeferredDiscoveryRESTMapper.RESTMapping(gk, versions...)
	if meta.IsNoMatchError(err) && m.rediscover() {
		return m.DeferredDiscoveryRESTMapper.RESTMapping(gk, versions...)
	}
	return mapping, err
}

// RESTMappings implements meta.RESTMapper.
func (m *mapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	mappings, err := m.DeferredDiscoveryRESTMapper.RESTMappings(gk, versions...)
	if meta.IsNoMatchError(err) && m.rediscover() {
		return m.DeferredDiscoveryRESTMapper.RESTMappings(gk, versions...)
	}
	return mappings, err
}

// rediscover forgets the kinds, unless that has just been done.
func (m *mapper) rediscover() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.last) < rediscoverEvery {
		return false
	}
	m.last = time.Now()
	m.Reset()
	return true
}

// mapping is the resource that serves a kind. Error: no match, if the server doesn't know the kind (yet).
func (c *cluster) mapping(apiVersion, kind string) (*meta.RESTMapping, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, invalid(fmt.Errorf("apiVersion %q: %w", apiVersion, err), "write it as group/version, or as v1")
	}
	return c.mapper.RESTMapping(schema.GroupKind{Group: gv.Group, Kind: kind}, gv.Version)
}

// client is the API of one object's kind, in its namespace.
func (c *cluster) client(ref plan.ObjectRef) (dynamic.ResourceInterface, error) {
	m, err := c.mapping(ref.APIVersion, ref.Kind)
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(m.Resource).Namespace(ref.Namespace), nil
	}
	return c.dynamic.Resource(m.Resource), nil
}

// resource is the API of an instance's own kind; its plural is known, so that it needs no discovery.
func (c *cluster) resource(i plan.Instance) dynamic.ResourceInterface {
	r := c.dynamic.Resource(schema.GroupVersionResource{Group: i.Resource.Group, Version: i.Resource.Version, Resource: i.Resource.Plural})
	if i.Resource.Namespaced {
		return r.Namespace(i.Namespace)
	}
	return r
}

// capabilities are what charts see of the cluster. Helm alone would read them anew for every release.
func (c *cluster) capabilities(ctx context.Context) (*chartutil.Capabilities, error) {
	c.capsMu.Lock()
	defer c.capsMu.Unlock()
	resets := c.mapper.resets.Load()
	if c.caps != nil && c.capsOf == resets && time.Since(c.capsAt) < capabilitiesFor {
		return c.caps.Copy(), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.discovery.Invalidate()
	v, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("read the server's version: %w", err)
	}
	set, err := action.GetVersionSet(c.discovery)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("read the server's kinds: %w", err)
	}
	c.caps, c.capsAt = &chartutil.Capabilities{
		APIVersions: set,
		KubeVersion: chartutil.KubeVersion{Version: v.GitVersion, Major: v.Major, Minor: v.Minor},
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, time.Now()
	c.capsOf = resets
	return c.caps.Copy(), nil
}
