package virtual

import (
	"fmt"
	"slices"
	"strings"
)

// Resource is a kind as the API server lists it, which makes it a table.
type Resource struct {
	Kind
	Plural     string
	Namespaced bool
}

// The tables that are no kind's.
const (
	tableResources = "resources"
	tableEvents    = "events"
)

// Table is the full name of the resource's table: "services" for the core group, "ingresses.networking.k8s.io" for
// others. The core group's events are "events.core", because the table events is that of the lifecycle.
func (r Resource) Table() string {
	switch {
	case r.Group != "":
		return r.Plural + "." + r.Group
	case special(r.Plural):
		return r.Plural + ".core"
	}
	return r.Plural
}

func special(table string) bool { return table == tableResources || table == tableEvents }

// FindResource resolves a table's name among resources: a full name ("services.core" is one too), or the bare plural if
// it is unambiguous, where built-in groups win over others. Case doesn't count. Possible errors: *SQLError, if there is
// no such table or more than one.
func FindResource(table string, among []Resource) (Resource, error) {
	name := strings.ToLower(table)
	var found []Resource
	for _, r := range among {
		if name == r.Table() || r.Group == "" && name == r.Plural+".core" {
			return r, nil
		}
		if name == r.Plural && !special(name) && !slices.ContainsFunc(found, func(f Resource) bool { return f.Group == r.Group }) {
			found = append(found, r)
		}
	}
	if own := slices.DeleteFunc(slices.Clone(found), func(r Resource) bool { return !builtInGroup(r.Group) }); len(own) > 0 {
		found = own
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Resource{}, noTable(table, among)
	}
	names := make([]string, len(found))
	for i, r := range found {
		names[i] = `"` + r.Table() + `"`
	}
	slices.Sort(names)
	return Resource{}, &SQLError{
		Message: "ambiguous table: " + table, Offset: -1,
		Hint: "it may be " + strings.Join(names, " or ") + ": write one of these, with the quotes",
	}
}

func noTable(table string, among []Resource) error {
	names := []string{tableResources, tableEvents}
	for _, r := range among {
		names = append(names, r.Table())
		if r.Group != "" {
			names = append(names, r.Plural)
		}
	}
	e := &SQLError{Message: "no such table: " + table, Offset: -1}
	for _, r := range among {
		if strings.EqualFold(table, r.Kind.Kind) {
			name := r.Table()
			if found, err := FindResource(r.Plural, among); err == nil && found == r {
				name = r.Plural
			}
			e.Hint = fmt.Sprintf("did you mean %s?", quoteTable(name))
			return e
		}
	}
	if near := nearest(table, names); near != "" {
		e.Hint = fmt.Sprintf("did you mean %s?", quoteTable(near))
	} else {
		slices.Sort(names)
		e.Hint = "there are " + list(slices.Compact(names), 12)
	}
	return e
}

// quoteTable is a table's name as SQL takes it.
func quoteTable(name string) string {
	if strings.ContainsAny(name, ".-") {
		return `"` + name + `"`
	}
	return name
}

// builtInGroup tells whether Kubernetes itself serves a group.
func builtInGroup(group string) bool {
	return group == "" || !strings.Contains(group, ".") || slices.ContainsFunc(BuiltIn(), func(r Resource) bool { return r.Group == group })
}

// Serve makes a kind a table of the store. It may be called again. A kind that is served in two versions is the table
// of the one that came last.
func (s *Store) Serve(r Resource) { s.sql.serve(r) }

// Resources are the kinds that are tables, in the order of their tables' names.
func (s *Store) Resources() []Resource { return slices.Clone(s.sql.served()) }

// BuiltIn are the kinds that every cluster has, in their preferred versions.
func BuiltIn() []Resource {
	var all []Resource
	for _, g := range [...]struct{ group, version, namespaced, cluster string }{
		{"", "v1", "ConfigMap Endpoints Event LimitRange PersistentVolumeClaim Pod PodTemplate ReplicationController " +
			"ResourceQuota Secret Service ServiceAccount", "Namespace Node PersistentVolume"},
		{"admissionregistration.k8s.io", "v1", "", "MutatingWebhookConfiguration ValidatingAdmissionPolicy " +
			"ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"},
		{"apiextensions.k8s.io", "v1", "", "CustomResourceDefinition"},
		{"apiregistration.k8s.io", "v1", "", "APIService"},
		{"apps", "v1", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", ""},
		{"autoscaling", "v2", "HorizontalPodAutoscaler", ""},
		{"batch", "v1", "CronJob Job", ""},
		{"certificates.k8s.io", "v1", "", "CertificateSigningRequest"},
		{"coordination.k8s.io", "v1", "Lease", ""},
		{"discovery.k8s.io", "v1", "EndpointSlice", ""},
		{"events.k8s.io", "v1", "Event", ""},
		{"flowcontrol.apiserver.k8s.io", "v1", "", "FlowSchema PriorityLevelConfiguration"},
		{"networking.k8s.io", "v1", "Ingress NetworkPolicy", "IngressClass IPAddress ServiceCIDR"},
		{"node.k8s.io", "v1", "", "RuntimeClass"},
		{"policy", "v1", "PodDisruptionBudget", ""},
		{"rbac.authorization.k8s.io", "v1", "Role RoleBinding", "ClusterRole ClusterRoleBinding"},
		{"resource.k8s.io", "v1", "ResourceClaim ResourceClaimTemplate", "DeviceClass ResourceSlice"},
		{"scheduling.k8s.io", "v1", "", "PriorityClass"},
		{"storage.k8s.io", "v1", "CSIStorageCapacity", "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass"},
	} {
		for i, kinds := range [...]string{g.namespaced, g.cluster} {
			for kind := range strings.FieldsSeq(kinds) {
				all = append(all, Resource{Kind: Kind{g.group, g.version, kind}, Plural: plural(kind), Namespaced: i == 0})
			}
		}
	}
	return all
}

// plural is how Kubernetes' own kinds are listed.
func plural(kind string) string {
	s := strings.ToLower(kind)
	switch {
	case s == "endpoints":
		return s
	case strings.HasSuffix(s, "s"):
		return s + "es"
	case strings.HasSuffix(s, "cy") || strings.HasSuffix(s, "ty"):
		return s[:len(s)-1] + "ies"
	}
	return s + "s"
}
