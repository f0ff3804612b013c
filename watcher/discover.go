package watcher

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// discoveryTimeout bounds one question to the API server what a group has.
const discoveryTimeout = 15 * time.Second

// discover asks the API server for a kind's resource; nil: there is no such kind.
func (s *sources) discover(ctx context.Context, kind virtual.Kind) (*virtual.Resource, error) {
	list, err := s.resources(ctx, kind.Group, kind.Version)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Kind == kind.Kind {
			return &virtual.Resource{Kind: kind, Plural: r.Name, Namespaced: r.Namespaced}, nil
		}
	}
	return nil, nil
}

// discoverTable asks the API server for a table's kind, in the version that the group prefers; nil: there is none.
func (s *sources) discoverTable(ctx context.Context, name string) (*virtual.Resource, error) {
	plural, group, _ := strings.Cut(name, ".")
	bounded, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	var found metav1.APIGroup
	err := s.cluster.discovery.RESTClient().Get().AbsPath("/apis/" + group).Do(bounded).Into(&found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the versions of %s: %w", group, err)
	}
	// A kind that is new to its group may be missing from the version that the group prefers.
	for _, v := range append([]metav1.GroupVersionForDiscovery{found.PreferredVersion}, found.Versions...) {
		list, err := s.resources(ctx, group, v.Version)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.Name == plural {
				kind := virtual.Kind{Group: group, Version: v.Version, Kind: r.Kind}
				return &virtual.Resource{Kind: kind, Plural: plural, Namespaced: r.Namespaced}, nil
			}
		}
	}
	return nil, nil
}

// resources lists what a group has in a version, without subresources. It asks for the one group and version, because a
// list of all groups hides those that just can't be reached, and a kind that can't be reached must not pass for one that
// doesn't exist.
func (s *sources) resources(ctx context.Context, group, version string) ([]metav1.APIResource, error) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	gv := virtual.Kind{Group: group, Version: version}.APIVersion()
	list, err := s.cluster.discovery.ServerResourcesForGroupVersionWithContext(ctx, gv)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the resources of %s: %w", gv, err)
	}
	if group == "" && len(list.APIResources) == 0 {
		// The discovery client takes a missing core group for an empty one.
		return nil, fmt.Errorf("ask for the resources of %s: the API server lists none", gv)
	}
	var out []metav1.APIResource
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") {
			out = append(out, r)
		}
	}
	return out, nil
}
