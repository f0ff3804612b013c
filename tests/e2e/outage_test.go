//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mainstay-dev/mainstay/tests/stack"
)

// TestOutages kills Temporal and then the API server for 30 s each, while resources are deployed, changed and deleted.
// It has a devstack of its own, in two halves.
func TestOutages(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	own, err := stack.Up(ctx, t.TempDir(), stack.Temporal, stack.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Down()
	sc := newScenario(t, own, "outages", "shop.txtar")
	sc.start()
	sc.create("demo", map[string]any{})
	sc.create("leaving", map[string]any{})
	sc.ready(time.Minute, "demo")
	sc.ready(time.Minute, "leaving")
	sc.ledger(10*time.Second, "demo-web", "demo-web", "80")

	// Temporal is away: everything that happens in the cluster meanwhile is handled afterwards.
	own.Process(stack.Temporal).Kill()
	sc.patch(services, "demo-web", port(8084))
	sc.create("newcomer", map[string]any{})
	sc.patch(sc.resource, "demo", `{"spec":{"message":"while Temporal was away"}}`)
	sc.delete(sc.resource, "leaving")
	<-time.After(30 * time.Second)
	if err := own.Start(ctx, stack.Temporal); err != nil {
		t.Fatal(err)
	}
	sc.ready(2*time.Minute, "newcomer")
	sc.ready(2*time.Minute, "demo")
	sc.ledger(30*time.Second, "demo-web", "demo-web", "80") // the upgrade has put the chart's port back
	sc.gone(time.Minute, sc.resource, "leaving")
	if r := sc.releases()["demo-web"]; len(r) != 2 || r["2"] != "deployed" {
		t.Errorf("releases = %v, want two revisions", r)
	}

	// The API server is away in the middle of an upgrade.
	sc.patch(sc.resource, "demo", `{"spec":{"message":"while the API server was away"}}`)
	own.Process(stack.Kubernetes).Kill()
	<-time.After(30 * time.Second)
	if err := own.Start(ctx, stack.Kubernetes); err != nil {
		t.Fatal(err)
	}
	sc.ready(2*time.Minute, "demo")
	sc.eventually(30*time.Second, "the third revision", func() error {
		if r := sc.releases()["demo-web"]; len(r) != 3 || r["3"] != "deployed" {
			return fmt.Errorf("releases = %v, want three revisions", r)
		}
		return nil
	})
	sc.patch(services, "demo-web", port(8085))
	sc.ledger(30*time.Second, "demo-web", "demo-web", "8085")
	sc.stop()
}
