package virtual_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// The objects are what a cluster of middling size holds: generated, of 2 to 4 KB as the API server sends them, with
// managedFields, with the labels, annotations and statuses that controllers write.

var (
	pods        = virtual.Kind{Version: "v1", Kind: "Pod"}
	services    = virtual.Kind{Version: "v1", Kind: "Service"}
	configMaps  = virtual.Kind{Version: "v1", Kind: "ConfigMap"}
	secrets     = virtual.Kind{Version: "v1", Kind: "Secret"}
	deployments = virtual.Kind{Group: "apps", Version: "v1", Kind: "Deployment"}
)

// mix is how many of each hundred objects are of a kind.
var mix = []struct {
	kind  virtual.Kind
	share int
	make  func(*maker) object
}{
	{pods, 45, (*maker).pod},
	{deployments, 15, (*maker).deployment},
	{services, 15, (*maker).service},
	{configMaps, 15, (*maker).configMap},
	{secrets, 10, (*maker).secret},
}

type object = map[string]any

// maker makes the objects of one kind; equal seeds make equal objects.
type maker struct {
	*rand.Rand
	kind virtual.Kind
	n    int
}

func newMaker(kind virtual.Kind) *maker {
	return &maker{Rand: rand.New(rand.NewPCG(7, uint64(len(kind.Kind)))), kind: kind}
}

func (m *maker) hex(n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x", m.Uint64())
	}
	return b.String()[:n]
}

func (m *maker) uid() string {
	return m.hex(8) + "-" + m.hex(4) + "-4" + m.hex(3) + "-a" + m.hex(3) + "-" + m.hex(12)
}

func (m *maker) time() string {
	return fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02dZ", 1+m.IntN(12), 1+m.IntN(28), m.IntN(24), m.IntN(60), m.IntN(60))
}

func (m *maker) ip() string { return fmt.Sprintf("10.%d.%d.%d", m.IntN(256), m.IntN(256), m.IntN(256)) }

// app is one of 2,000 applications.
func (m *maker) app() string {
	return []string{"checkout", "search", "flink", "kafka", "billing"}[m.n%5] + fmt.Sprintf("-%d", m.n%2000)
}

func (m *maker) meta(labels, annotations object) object {
	name := m.app() + "-" + m.hex(10)
	if m.kind == pods {
		name = m.app() + "-" + m.hex(10) + "-" + m.hex(5)
	}
	return object{
		"name": name, "namespace": fmt.Sprintf("team-%d", m.n%200), "uid": m.uid(),
		"resourceVersion": fmt.Sprint(1000000 + m.n), "creationTimestamp": m.time(), "labels": labels, "annotations": annotations,
	}
}

// owner of a given kind, one that nobody watches.
func (m *maker) owner(apiVersion, kind string) []any {
	return []any{object{
		"apiVersion": apiVersion, "kind": kind, "name": m.app(), "uid": m.uid(), "controller": true, "blockOwnerDeletion": true,
	}}
}

// managed is what the API server notes about who wrote what: a member for each field that was written.
func managed(o object, managers ...string) []any {
	var list []any
	for i, manager := range managers {
		fields := object{}
		for name, value := range o {
			switch {
			case name == "apiVersion" || name == "kind":
			case (name == "status") == (i == len(managers)-1 && len(managers) > 1):
				fields["f:"+name] = fieldsOf(name, value)
			}
		}
		entry := object{
			"manager": manager, "operation": "Update", "apiVersion": o["apiVersion"], "time": "2026-03-04T05:06:07Z",
			"fieldsType": "FieldsV1", "fieldsV1": fields,
		}
		if i > 0 {
			entry["subresource"] = "status"
		}
		list = append(list, entry)
	}
	return list
}

func fieldsOf(parent string, value any) any {
	fields := object{}
	switch v := value.(type) {
	case object:
		for name, value := range v {
			switch name {
			case "name", "namespace", "uid", "resourceVersion", "creationTimestamp":
				if parent == "metadata" {
					continue
				}
			}
			fields["f:"+name] = fieldsOf(name, value)
		}
		if len(v) > 1 && parent != "metadata" {
			fields["."] = object{}
		}
	case []any:
		for _, item := range v {
			if o, ok := item.(object); ok {
				for _, key := range []string{"name", "port", "type", "ip", "uid"} {
					if id, ok := o[key]; ok {
						fields[fmt.Sprintf(`k:{%q:%q}`, key, fmt.Sprint(id))] = fieldsOf("item", o)
						break
					}
				}
			}
		}
	}
	return fields
}

func (m *maker) finish(o object, managers ...string) object {
	o["apiVersion"], o["kind"] = m.kind.APIVersion(), m.kind.Kind
	o["metadata"].(object)["managedFields"] = managed(o, managers...)
	m.n++
	return o
}

func (m *maker) labels() object {
	return object{
		"app.kubernetes.io/name": m.app(), "app.kubernetes.io/instance": fmt.Sprintf("%s-%d", m.app(), m.n%7),
		"app.kubernetes.io/managed-by": "Helm", "team": fmt.Sprintf("team-%d", m.n%200),
	}
}

func (m *maker) conditions(types ...string) []any {
	var list []any
	for _, t := range types {
		list = append(list, object{"type": t, "status": "True", "lastProbeTime": nil, "lastTransitionTime": m.time()})
	}
	return list
}

func (m *maker) container() object {
	return object{
		"name": "main", "image": "registry.example.com/" + m.app() + "@sha256:" + m.hex(64),
		"args":  []any{"--config=/etc/app/config.yaml", "--port=8080"},
		"ports": []any{object{"containerPort": int64(8080), "name": "http", "protocol": "TCP"}},
		"env":   []any{object{"name": "LOG_LEVEL", "value": "info"}},
		"resources": object{
			"limits": object{"memory": "512Mi"}, "requests": object{"cpu": "100m", "memory": "256Mi"},
		},
		"volumeMounts":           []any{object{"name": "config", "mountPath": "/etc/app", "readOnly": true}},
		"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
	}
}

func (m *maker) podSpec() object {
	return object{
		"containers": []any{m.container()}, "restartPolicy": "Always", "terminationGracePeriodSeconds": int64(30),
		"dnsPolicy": "ClusterFirst", "serviceAccountName": "default", "securityContext": object{}, "schedulerName": "default-scheduler",
		"volumes": []any{object{"name": "config", "configMap": object{"name": m.app(), "defaultMode": int64(420)}}},
	}
}

func (m *maker) pod() object {
	meta := m.meta(object{"app": m.app(), "team": fmt.Sprintf("team-%d", m.n%200), "pod-template-hash": m.hex(10)}, object{})
	delete(meta, "annotations")
	meta["generateName"], meta["ownerReferences"] = m.app()+"-", m.owner("apps/v1", "ReplicaSet")
	spec := m.podSpec()
	spec["nodeName"] = fmt.Sprintf("node-%d.example.internal", m.IntN(300))
	ip := m.ip()
	o := object{"metadata": meta, "spec": spec, "status": object{
		"phase": "Running", "hostIP": m.ip(), "podIP": ip, "podIPs": []any{object{"ip": ip}}, "startTime": m.time(), "qosClass": "Burstable",
		"conditions": m.conditions("Initialized", "Ready", "PodScheduled"),
		"containerStatuses": []any{object{
			"name": "main", "ready": true, "started": true, "restartCount": int64(m.IntN(4)),
			"containerID": "containerd://" + m.hex(64), "state": object{"running": object{"startedAt": m.time()}},
		}},
	}}
	return m.finish(o, "kube-controller-manager", "kubelet")
}

func (m *maker) deployment() object {
	labels := m.labels()
	meta := m.meta(labels, object{
		"deployment.kubernetes.io/revision": fmt.Sprint(1 + m.IntN(40)), "meta.helm.sh/release-name": m.app(),
		"meta.helm.sh/release-namespace": fmt.Sprintf("team-%d", m.n%200),
	})
	meta["generation"] = int64(3)
	o := object{"metadata": meta, "spec": object{
		"replicas": int64(3), "revisionHistoryLimit": int64(10), "progressDeadlineSeconds": int64(600),
		"selector": object{"matchLabels": object{"app": m.app()}},
		"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": "25%", "maxUnavailable": "25%"}},
		"template": object{"metadata": object{"labels": object{"app": m.app()}}, "spec": m.podSpec()},
	}, "status": object{
		"observedGeneration": int64(3), "replicas": int64(3), "readyReplicas": int64(3), "updatedReplicas": int64(3),
		"conditions": m.conditions("Available", "Progressing"),
	}}
	return m.finish(o, "helm", "kube-controller-manager")
}

func (m *maker) service() object {
	meta := m.meta(m.labels(), object{
		"kubectl.kubernetes.io/last-applied-configuration": fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"annotations":{},"name":%q},`+
			`"spec":{"ports":[{"name":"http","port":80,"targetPort":8080},{"name":"metrics","port":9090,"targetPort":9090}],"selector":{"app":%q}}}`+"\n", m.app(), m.app()),
		"external-dns.example.com/hostname": m.app() + ".example.com",
	})
	ip := m.ip()
	o := object{"metadata": meta, "spec": object{
		"type": "LoadBalancer", "clusterIP": ip, "clusterIPs": []any{ip}, "ipFamilies": []any{"IPv4"}, "ipFamilyPolicy": "SingleStack",
		"internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster", "sessionAffinity": "None", "allocateLoadBalancerNodePorts": true,
		"selector": object{"app": m.app()},
		"ports": []any{
			object{"name": "http", "port": int64(80), "targetPort": int64(8080), "protocol": "TCP", "nodePort": int64(30000 + m.IntN(2767))},
			object{"name": "metrics", "port": int64(9090), "targetPort": "metrics", "protocol": "TCP", "nodePort": int64(30000 + m.IntN(2767))},
		},
	}, "status": object{"loadBalancer": object{"ingress": []any{object{"ip": m.ip()}}}}}
	return m.finish(o, "kubectl-client-side-apply", "cloud-controller-manager")
}

func (m *maker) configMap() object {
	var yaml strings.Builder
	fmt.Fprintf(&yaml, "server:\n  name: %q\n  port: 8080\nlogging:\n", m.app())
	for i := range 18 + m.IntN(20) {
		fmt.Fprintf(&yaml, "  - logger: com.example.%s.Module%d\n    level: %s\n", m.app(), i, []string{"INFO", "WARN", "DEBUG"}[m.IntN(3)])
	}
	o := object{"metadata": m.meta(m.labels(), object{"checksum/config": m.hex(64)}), "data": object{
		"config.yaml": yaml.String(), "JAVA_OPTS": "-Xmx384m -XX:+UseG1GC", "feature.flags": "a=true\nb=false\n",
	}}
	return m.finish(o, "helm")
}

func (m *maker) secret() object {
	o := object{"metadata": m.meta(m.labels(), object{"reloader.example.com/match": "true"}), "type": "Opaque", "data": object{
		"username": m.hex(24), "password": m.hex(48), "tls.crt": m.hex(1400 + m.IntN(800)),
	}}
	return m.finish(o, "external-secrets")
}

// lists calls fn with pages of up to 500 objects as the API server lists them, kind after kind.
func lists(objects int, fn func(kind virtual.Kind, page []byte) error) error {
	for _, part := range mix {
		m := newMaker(part.kind)
		for left := objects * part.share / 100; left > 0; left -= 500 {
			items := []any{}
			for range min(left, 500) {
				items = append(items, part.make(m))
			}
			page, err := json.Marshal(object{
				"apiVersion": part.kind.APIVersion(), "kind": part.kind.Kind + "List", "metadata": object{"resourceVersion": "2000000"}, "items": items,
			})
			if err != nil {
				return err
			}
			if err := fn(part.kind, page); err != nil {
				return err
			}
		}
	}
	return nil
}
