package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func TestStackSurvivesKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the whole stack")
	}
	ctx, dir := testContext(t), t.TempDir()

	first := start(t, dir)
	env := first.ready()
	for _, name := range []string{"KUBECONFIG", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_UI"} {
		if env[name] == "" || !strings.Contains(first.stdout.String(), name+"="+env[name]) {
			t.Errorf("%s is %q in env, and the ready line is %q", name, env[name], first.stdout.String())
		}
	}
	if info, err := os.Stat(env["KUBECONFIG"]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("kubeconfig: %v, %v; want mode 0600", info, err)
	}
	kube := kubeClient(t, env)
	createDeployment(ctx, t, kube)
	conn := temporalConn(t, env)
	addSearchAttribute(ctx, t, conn)
	checkTemporal(ctx, t, conn, env)

	second := start(t, dir)
	if code := second.wait(); code != 1 || !strings.Contains(second.stderr.String(), "already running") {
		t.Errorf("a second stack on the same folder: status %d, %q", code, second.stderr.String())
	}

	components := first.components()
	if len(components) != 6 {
		t.Errorf("%d components run, want 6: %v", len(components), slices.Collect(maps.Values(components)))
	}
	first.signal(syscall.SIGKILL)
	first.wait()
	gone(t, components)

	again := start(t, dir)
	if now := again.ready(); !maps.Equal(env, now) {
		t.Errorf("started again, env is %v; want %v", now, env)
	}
	if err := available(ctx, kube); err != nil {
		t.Errorf("the Deployment did not survive: %v", err)
	}
	checkTemporal(ctx, t, conn, env)

	components = again.components()
	again.signal(syscall.SIGTERM)
	if code := again.wait(); code != 0 || again.stderr.String() != "" {
		t.Errorf("after SIGTERM: status %d, want 0; stderr %q", code, again.stderr.String())
	}
	gone(t, components)
	for _, p := range []*process{first, again} {
		if n := strings.Count(p.stdout.String(), "\n"); n != 1 {
			t.Errorf("%d lines on stdout, want 1: %q", n, p.stdout.String())
		}
	}
}

func TestHalvesRunApart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the whole stack")
	}
	ctx, dir := testContext(t), t.TempDir()

	temporal := start(t, dir, "--only", "temporal")
	kubernetes := start(t, dir, "--only", "kubernetes", "--nodes", "1")
	temporal.ready()
	env := kubernetes.ready()
	if env["KUBECONFIG"] == "" || env["TEMPORAL_ADDRESS"] == "" {
		t.Fatalf("env is %v, want both halves", env)
	}

	temporal.signal(syscall.SIGKILL)
	temporal.wait()
	createDeployment(ctx, t, kubeClient(t, env))
	temporal = start(t, dir, "--only", "temporal")
	if now := temporal.ready(); !maps.Equal(env, now) {
		t.Errorf("with Temporal started again, env is %v; want %v", now, env)
	}

	// A component that ends by itself ends its half, which says why, and only it.
	components := kubernetes.components()
	for pid, args := range components {
		if strings.Contains(args, "component kube-scheduler") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if code := kubernetes.wait(); code != 1 || !strings.Contains(kubernetes.stderr.String(), "kube-scheduler ended unexpectedly") {
		t.Errorf("without its scheduler: status %d, %q", code, kubernetes.stderr.String())
	}
	gone(t, components)
	checkTemporalAnswers(ctx, t, temporalConn(t, env))
}

func kubeClient(t *testing.T, env map[string]string) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", env["KUBECONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	config.Timeout = 10 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// createDeployment returns when its Pod is ready, which takes all components.
func createDeployment(ctx context.Context, t *testing.T, client kubernetes.Interface) {
	t.Helper()
	labels := map[string]string{"app": "web"}
	_, err := client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create a Deployment: %v", err)
	}
	eventually(t, "the Deployment is available", func() error { return available(ctx, client) })
}

func available(ctx context.Context, client kubernetes.Interface) error {
	d, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionTrue && d.Status.AvailableReplicas == 1 {
			return nil
		}
	}
	return errors.New("not available")
}

func temporalConn(t *testing.T, env map[string]string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(env["TEMPORAL_ADDRESS"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

const searchAttribute = "DevstackTest"

func addSearchAttribute(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	_, err := operatorservice.NewOperatorServiceClient(conn).AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        "default",
		SearchAttributes: map[string]enumspb.IndexedValueType{searchAttribute: enumspb.INDEXED_VALUE_TYPE_KEYWORD},
	})
	if err != nil {
		t.Fatalf("add a search attribute: %v", err)
	}
}

// checkTemporal finds what was stored, and the settings that were asked for.
func checkTemporal(ctx context.Context, t *testing.T, conn *grpc.ClientConn, env map[string]string) {
	t.Helper()
	namespace, err := workflowservice.NewWorkflowServiceClient(conn).DescribeNamespace(ctx,
		&workflowservice.DescribeNamespaceRequest{Namespace: env["TEMPORAL_NAMESPACE"]}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("describe the namespace: %v", err)
	}
	if got := namespace.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration(); got != 72*time.Hour {
		t.Errorf("closed workflows are kept for %s, want 72h", got)
	}
	attributes, err := operatorservice.NewOperatorServiceClient(conn).ListSearchAttributes(ctx,
		&operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	if err != nil {
		t.Fatalf("list search attributes: %v", err)
	}
	if _, ok := attributes.GetCustomAttributes()[searchAttribute]; !ok {
		t.Errorf("custom search attributes are %v, want %s among them", attributes.GetCustomAttributes(), searchAttribute)
	}
	resp, err := http.Get(env["TEMPORAL_UI"])
	if err != nil {
		t.Fatalf("open the UI: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the UI answers %s", resp.Status)
	}
}

func checkTemporalAnswers(ctx context.Context, t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	_, err := workflowservice.NewWorkflowServiceClient(conn).GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{})
	if err != nil {
		t.Errorf("Temporal does not answer: %v", err)
	}
}
