package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// attributes are the search attributes that Mainstay sets on its workflows.
var attributes = []string{"MainstayKind", "MainstayNamespace", "MainstayName", "MainstayPhase", "MainstayRule"}

// dial connects to Temporal, waiting for it as long as ctx lives. It reports whether the search attributes may be used.
func (w *Worker) dial(ctx context.Context) (client.Client, bool, error) {
	var c client.Client
	err := w.await(ctx, "Temporal is not usable yet; trying again", func() (err error) {
		c, err = client.DialContext(ctx, w.opts.Temporal)
		if err != nil {
			return fmt.Errorf("connect to Temporal at %s: %w", w.address(), err)
		}
		_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: w.namespace()})
		if err == nil {
			return nil
		}
		c.Close()
		var missing *serviceerror.NamespaceNotFound
		if errors.As(err, &missing) {
			return fmt.Errorf("the Temporal namespace %q does not exist: create it, or name another one in TEMPORAL_NAMESPACE", w.namespace())
		}
		return fmt.Errorf("describe the Temporal namespace %q: %w", w.namespace(), err)
	})
	if err != nil {
		return nil, false, err
	}
	return c, w.register(ctx, c), nil
}

// register makes the search attributes known where that is allowed, and tells whether they may be used. Everything
// works without them, so that it is no error if not.
func (w *Worker) register(ctx context.Context, c client.Client) bool {
	list := func() (missing []string, err error) {
		have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: w.namespace()})
		if err != nil {
			return nil, err
		}
		for _, a := range attributes {
			if t, ok := have.CustomAttributes[a]; !ok || t != enums.INDEXED_VALUE_TYPE_KEYWORD {
				missing = append(missing, a)
			}
		}
		return missing, nil
	}
	missing, err := list()
	if err == nil && len(missing) > 0 {
		add := map[string]enums.IndexedValueType{}
		for _, a := range missing {
			add[a] = enums.INDEXED_VALUE_TYPE_KEYWORD
		}
		_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: w.namespace(), SearchAttributes: add})
		var exists *serviceerror.AlreadyExists // another replica was faster
		if err == nil || errors.As(err, &exists) {
			missing, err = list()
		}
	}
	if err != nil || len(missing) > 0 {
		w.opts.Log.Info("search attributes are not registered; going on without them", "missing", missing, "error", err)
		return false
	}
	return true
}

func (w *Worker) address() string {
	if w.opts.Temporal.HostPort == "" {
		return client.DefaultHostPort
	}
	return w.opts.Temporal.HostPort
}

// await calls try until it succeeds or ctx ends, with growing pauses. Each new reason for waiting gets one log line.
func (w *Worker) await(ctx context.Context, message string, try func() error) error {
	var last string
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := try()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if reason := err.Error(); reason != last {
			w.opts.Log.Warn(message, "error", reason)
			last = reason
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
