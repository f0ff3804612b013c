//go:build e2e

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/tests/stack"
)

// amountOf is a number from the environment, for a look at other sizes.
func amountOf(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// BenchmarkCrowd puts 20,000 objects before one rule of one instance, half of them before the resource exists, and
// changes some: all must be handled, and no payload and no history may come near Temporal's limits.
func BenchmarkCrowd(b *testing.B) {
	for b.Loop() {
		n := amountOf("MAINSTAY_CROWD", 20_000)
		serve(b, mirror())
		namespace(b, "crowd")
		api := shared.Kube.CoreV1().ConfigMaps("crowd")
		fill := func(from, to int) {
			b.Helper()
			var g errgroup.Group
			g.SetLimit(20)
			for i := from; i < to; i++ {
				g.Go(func() error {
					cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%05d", i)}, Data: map[string]string{"i": fmt.Sprint(i)}}
					_, err := api.Create(b.Context(), cm, metav1.CreateOptions{})
					return err
				})
			}
			if err := g.Wait(); err != nil {
				b.Fatal(err)
			}
		}
		fill(0, n/2)
		began := time.Now()
		profiled(b, "crowd", "demo", "crowd")
		obj, err := shared.Dynamic.Resource(mirrors).Namespace("crowd").Get(b.Context(), "demo", metav1.GetOptions{})
		if err != nil {
			b.Fatal(err)
		}
		id := plan.Instance{Namespace: "crowd", Name: "demo", UID: string(obj.GetUID()), Resource: plan.Resource{Plural: "mirrors"}}.WorkflowID()
		fill(n/2, n)
		// The workflow has handled all when it says so; each object was decided about.
		handled := func() (seen, pending int) {
			var objects struct {
				Seen map[string]map[string]plan.Seen
			}
			var status struct{ Pending int }
			for query, into := range map[string]any{"objects": &objects, "status": &status} {
				v, err := shared.Temporal.QueryWorkflow(b.Context(), id, "", query)
				if err != nil || v.Get(into) != nil {
					return 0, -1
				}
			}
			return len(objects.Seen["crowd"]), status.Pending
		}
		until(b, 20*time.Minute, "all are handled", func() error {
			time.Sleep(2 * time.Second) // a look costs the workflow more than it tells
			if seen, pending := handled(); seen < n || pending != 0 {
				return fmt.Errorf("%d of %d seen, %d pending", seen, n, pending)
			}
			return nil
		})
		all := time.Since(began)
		for i := range 20 {
			patch := `{"data":{"act":"now"}}`
			if _, err := api.Patch(b.Context(), fmt.Sprintf("c%05d", i*n/20), "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		until(b, time.Minute, "a change of some is acted on", func() error {
			for i := range 20 {
				cm, err := api.Get(b.Context(), fmt.Sprintf("c%05d", i*n/20), metav1.GetOptions{})
				if err != nil || cm.Data["acted"] != "yes" {
					return fmt.Errorf("%s: %v %v", fmt.Sprintf("c%05d", i*n/20), cm.Data, err)
				}
			}
			return nil
		})
		runs, longest, largest, payload := histories(b, id)
		fmt.Printf("crowd, %d objects of one rule: all decided about in %.0f s; %d runs, longest history %d events, largest %.1f MiB, largest input %.2f MiB (limits: 51,200 events, 50 MiB, 2 MiB)\n",
			n, all.Seconds(), runs, longest, float64(largest)/(1<<20), float64(payload)/(1<<20))
		b.ReportMetric(all.Seconds(), "s")
		b.ReportMetric(float64(payload)/(1<<20), "payload-MiB")
	}
}

// histories follows a workflow's runs from the first.
func histories(b *testing.B, id string) (runs int, longest, largest int64, payload int) {
	b.Helper()
	d, err := shared.Temporal.DescribeWorkflowExecution(b.Context(), id, "")
	if err != nil {
		b.Fatal(err)
	}
	for run := d.WorkflowExecutionInfo.FirstRunId; run != ""; {
		runs++
		d, err := shared.Temporal.DescribeWorkflowExecution(b.Context(), id, run)
		if err != nil {
			b.Fatal(err)
		}
		longest, largest = max(longest, d.WorkflowExecutionInfo.HistoryLength), max(largest, d.WorkflowExecutionInfo.HistorySizeBytes)
		events := shared.Temporal.GetWorkflowHistory(b.Context(), id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		run = ""
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				b.Fatal(err)
			}
			if a := e.GetWorkflowExecutionContinuedAsNewEventAttributes(); a != nil {
				run = a.NewExecutionRunId
				for _, p := range a.Input.GetPayloads() {
					payload = max(payload, len(p.Data))
				}
			}
			if a := e.GetWorkflowExecutionSignaledEventAttributes(); a != nil {
				for _, p := range a.Input.GetPayloads() {
					payload = max(payload, len(p.Data))
				}
			}
		}
	}
	return runs, longest, largest, payload
}

// BenchmarkIdle counts what 10,000 idle resources of one operator cost: memory of the process for each, and that
// nothing happens while nothing happens.
func BenchmarkIdle(b *testing.B) {
	for b.Loop() {
		n := amountOf("MAINSTAY_IDLE", 10_000)
		pid := serve(b, mirror())
		namespace(b, "idle")
		profiled(b, "idle", "first", "idle")
		before := resident(b, pid)
		began := time.Now()
		var g errgroup.Group
		g.SetLimit(20)
		for i := range n {
			g.Go(func() error {
				obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "bench.mainstay.dev/v1", "kind": "Mirror", "spec": map[string]any{},
					"metadata": map[string]any{"name": fmt.Sprintf("r%05d", i), "namespace": "idle", "annotations": map[string]any{"mainstay.dev/profile": "idle"}}}}
				_, err := shared.Dynamic.Resource(mirrors).Namespace("idle").Create(b.Context(), obj, metav1.CreateOptions{})
				return err
			})
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
		var ids []string
		until(b, 30*time.Minute, "all Ready", func() error {
			time.Sleep(5 * time.Second)
			ids = ids[:0]
			list, err := shared.Dynamic.Resource(mirrors).Namespace("idle").List(b.Context(), metav1.ListOptions{ResourceVersion: "0"})
			if err != nil {
				return err
			}
			ready := 0
			for _, o := range list.Items {
				if phase, _, _ := nested(o.Object, "status", "phase"); phase == "Ready" {
					ready++
				}
				ids = append(ids, plan.Instance{Namespace: "idle", Name: o.GetName(), UID: string(o.GetUID()), Resource: plan.Resource{Plural: "mirrors"}}.WorkflowID())
			}
			if ready != n+1 {
				return fmt.Errorf("%d of %d Ready", ready, n+1)
			}
			return nil
		})
		up := time.Since(began)
		length := func() (total int64) {
			for i := 0; i < len(ids); i += len(ids)/100 + 1 {
				d, err := shared.Temporal.DescribeWorkflowExecution(b.Context(), ids[i], "")
				if err != nil {
					b.Fatal(err)
				}
				total += d.WorkflowExecutionInfo.HistoryLength
			}
			return total
		}
		time.Sleep(10 * time.Second) // what follows the last status write
		length0, cpu0 := length(), cpu(b, pid)
		const rest = 30 * time.Second
		time.Sleep(rest)
		length1, cpu1 := length(), cpu(b, pid)
		after := resident(b, pid)
		fmt.Printf("idle, %d resources: all Ready in %.0f s; %.1f KiB of memory each (%.0f MiB before, %.0f MiB after); in %s of rest %d events in 100 histories, %.1f%% of a core\n",
			n, up.Seconds(), float64(after-before)/float64(n)/1024, float64(before)/(1<<20), float64(after)/(1<<20), rest, length1-length0, 100*(cpu1-cpu0).Seconds()/rest.Seconds())
		b.ReportMetric(float64(after-before)/float64(n)/1024, "KiB/resource")
		b.ReportMetric(float64(length1-length0), "events")
		if length1 != length0 {
			b.Errorf("histories of idle resources grow: %d events in %s", length1-length0, rest)
		}
	}
}

// resident is a process's resident memory in bytes.
func resident(b *testing.B, p *stack.Process) int64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Pid()))
	if err != nil {
		b.Skip("this benchmark reads /proc: ", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// cpu is the processor time that a process has used.
func cpu(b *testing.B, p *stack.Process) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid()))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw)[strings.LastIndexByte(string(raw), ')')+1:])
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / 100 // in ticks of which Linux has 100 a second
}
