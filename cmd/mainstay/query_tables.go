package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// cluster is the API server as the verb query uses it.
type cluster struct {
	// preferred lists what the API server has, each kind in the version that its group prefers.
	preferred func(context.Context) ([]*metav1.APIResourceList, error)
	objects   dynamic.Interface
	metadata  metadata.Interface
}

// connectCluster connects to the cluster that kubectl would use.
func connectCluster() (*cluster, error) {
	config, err := kubernetes()
	if err != nil {
		return nil, err
	}
	return clusterOf(config)
}

func clusterOf(config *rest.Config) (*cluster, error) {
	config = rest.CopyConfig(config)
	// A handful of lists, side by side: a limit of the client's own would only hold them up.
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes: %w", err)
	}
	o, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes: %w", err)
	}
	m, err := metadata.NewForConfig(metadata.ConfigFor(config))
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes: %w", err)
	}
	return &cluster{preferred: d.ServerPreferredResourcesWithContext, objects: o, metadata: m}, nil
}

// table is a kind that can be listed.
type table struct {
	virtual.Resource
	watchable bool
}

func (t table) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: t.Group, Version: t.Version, Resource: t.Plural}
}

// catalog is what the API server has, in the order of the tables' names.
type catalog struct {
	tables    []table
	resources []virtual.Resource
	// silent are the groups that don't say what they have: those of an extension server that is down.
	silent []string
}

// discoverTables asks the API server for its kinds.
func discoverTables(ctx context.Context, c *cluster) (*catalog, error) {
	lists, err := c.preferred(ctx)
	known := &catalog{}
	var partly *discovery.ErrGroupDiscoveryFailed
	switch {
	case errors.As(err, &partly):
		groups := map[string]bool{}
		for version := range partly.Groups {
			groups[version.Group] = true
		}
		known.silent = slices.Sorted(maps.Keys(groups))
	case err != nil:
		return nil, fmt.Errorf("ask the API server for its kinds: %w", err)
	}
	for _, list := range lists {
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") {
				continue
			}
			known.tables = append(known.tables, table{
				Resource: virtual.Resource{
					Kind: virtual.ParseKind(list.GroupVersion, r.Kind), Plural: r.Name, Namespaced: r.Namespaced,
				},
				watchable: slices.Contains(r.Verbs, "watch"),
			})
		}
	}
	slices.SortFunc(known.tables, func(a, b table) int { return cmp.Compare(a.Table(), b.Table()) })
	for _, t := range known.tables {
		known.resources = append(known.resources, t.Resource)
	}
	return known, nil
}

// resolve finds the resource that a statement names.
func (c *catalog) resolve(name string) (virtual.Resource, error) {
	r, err := virtual.FindResource(name, c.resources)
	var e *virtual.SQLError
	if len(c.silent) > 0 && errors.As(err, &e) {
		told := *e
		told.Hint = strings.TrimPrefix(e.Hint+"; ", "; ") + "the API server can't say just now what these groups have: " + strings.Join(c.silent, ", ")
		return r, &told
	}
	return r, err
}

// ofKind finds the table of a kind, in whichever version.
func (c *catalog) ofKind(kind virtual.Kind) (table, bool) {
	for _, t := range c.tables {
		if t.Group == kind.Group && t.Kind.Kind == kind.Kind {
			return t, true
		}
	}
	return table{}, false
}

// short is the name that is enough for a table; empty: it needs its full one.
func (c *catalog) short(r virtual.Resource) string {
	if found, err := virtual.FindResource(r.Plural, c.resources); err == nil && found == r {
		return r.Plural
	}
	return ""
}

// rows are the tables as a result.
func (c *catalog) rows() *virtual.Rows {
	out := &virtual.Rows{Columns: []string{"name", "short", "api_version", "kind", "namespaced"}}
	for _, t := range c.tables {
		var short any
		if s := c.short(t.Resource); s != "" {
			short = s
		}
		out.Values = append(out.Values, []any{t.Table(), short, t.APIVersion(), t.Kind.Kind, t.Namespaced})
	}
	return out
}
