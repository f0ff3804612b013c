package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/mainstay-dev/mainstay/specs"
)

// crds is where CustomResourceDefinitions are.
var crds = extensions.SchemeGroupVersion.WithResource("customresourcedefinitions")

// installAll installs the operators' CustomResourceDefinitions side by side. It waits for the API server. A definition
// that the server refuses holds up nobody: it is tried again in the background, with the reason in the log.
func (w *Worker) installAll(ctx context.Context, background *sync.WaitGroup) error {
	config := rest.CopyConfig(w.opts.REST)
	config.QPS, config.Burst = -1, 0
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("prepare a Kubernetes client: %w", err)
	}
	err = w.await(ctx, "Kubernetes is not usable yet; trying again", func() error {
		_, err := client.Resource(crds).List(ctx, metav1.ListOptions{Limit: 1})
		var status apierrors.APIStatus
		if errors.As(err, &status) && !apierrors.IsServiceUnavailable(err) && !apierrors.IsUnauthorized(err) {
			return nil // it answers; what it refuses, the definitions' own lines will tell
		}
		if err != nil {
			return fmt.Errorf("reach the API server at %s: %w", config.Host, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var tried sync.WaitGroup
	for _, op := range w.operators {
		tried.Add(1)
		done := sync.OnceFunc(tried.Done)
		background.Go(func() {
			defer done()
			_ = w.await(ctx, "CustomResourceDefinition not installed; trying again", func() error { // ends with ctx
				err := install(ctx, client, op)
				if err != nil {
					done()
					return fmt.Errorf("operator %q: %w", op.Plan.Name, err)
				}
				return nil
			})
			done()
			w.keepInstalled(ctx, client, op)
		})
	}
	tried.Wait()
	return ctx.Err()
}

// lookAgain is how often it is checked that a definition is still there.
const lookAgain = 30 * time.Second

// keepInstalled installs a definition again that somebody deleted: without it the operator would serve nothing until
// its next start.
func (w *Worker) keepInstalled(ctx context.Context, client dynamic.Interface, op *specs.Operator) {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := client.Resource(crds).Get(ctx, op.Plan.Resource.CRD(), metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			continue
		}
		w.opts.Log.Warn("CustomResourceDefinition is gone, installing it again", "operator", op.Plan.Name)
		_ = w.await(ctx, "CustomResourceDefinition not installed; trying again", func() error { return install(ctx, client, op) }) // ends with ctx
	}
}

// install applies an operator's definition and waits until the API server serves it.
func install(ctx context.Context, client dynamic.Interface, op *specs.Operator) error {
	name := op.Plan.Resource.CRD()
	body, err := json.Marshal(op.InstallableCRD())
	if err != nil {
		return fmt.Errorf("encode CustomResourceDefinition %s: %w", name, err)
	}
	// By force: the operator's folder is where this definition is kept.
	force := true
	obj, err := client.Resource(crds).Patch(ctx, name, types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "mainstay", Force: &force, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		return fmt.Errorf("apply CustomResourceDefinition %s: %w", name, err)
	}
	for deadline := time.Now().Add(30 * time.Second); !established(obj); {
		if time.Now().After(deadline) {
			return fmt.Errorf("CustomResourceDefinition %s is not served after 30 s", name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if obj, err = client.Resource(crds).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("read CustomResourceDefinition %s: %w", name, err)
		}
	}
	return nil
}

func established(obj *unstructured.Unstructured) bool {
	if obj.GetDeletionTimestamp() != nil {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == string(extensions.Established) {
			return m["status"] == string(extensions.ConditionTrue)
		}
	}
	return false
}
