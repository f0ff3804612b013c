package virtual_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// change is an object's next state, as a watch brings it.
type change struct {
	key  virtual.Key
	text [2][]byte
}

// filled is a store with all objects, and two states for some of its pods.
func filled(b *testing.B) (*virtual.Store, []change) {
	b.Helper()
	store, err := virtual.Open(virtual.Options{InstanceLabel: "mainstay.dev/instance"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	var changes []change
	if err := lists(population, func(kind virtual.Kind, page []byte) error {
		decoded, _, err := unstructured.UnstructuredJSONScheme.Decode(page, nil, nil)
		if err != nil {
			return err
		}
		var objects []virtual.Object
		for _, item := range decoded.(*unstructured.UnstructuredList).Items {
			key := virtual.Key{Kind: kind, Namespace: item.GetNamespace(), Name: item.GetName()}
			o, err := virtual.DecodedObject(key, item.Object)
			if err != nil {
				return err
			}
			objects = append(objects, o)
			if kind == pods && len(objects)%3 == 0 {
				text, err := item.MarshalJSON()
				if err != nil {
					return err
				}
				next := bytes.Replace(text, []byte(`"restartCount":`), []byte(`"restartCount":1`), 1)
				changes = append(changes, change{key, [2][]byte{text, next}})
			}
		}
		return store.Apply(objects)
	}); err != nil {
		b.Fatal(err)
	}
	return store, changes
}

// BenchmarkChanges compares how many changes a second are taken in, and the 99th percentile of what one takes, while
// nobody reads and while a reader scans one snapshot after the other. A loop that reads nothing stands beside both: what
// a busy core costs by itself on a machine that has few.
func BenchmarkChanges(b *testing.B) {
	store, changes := filled(b)
	at := 0
	write := func(d time.Duration) (perSecond, p99 float64) {
		var took []time.Duration
		began := time.Now()
		last := began
		for last.Sub(began) < d {
			c := changes[at%len(changes)]
			if _, _, err := store.Put(c.key, c.text[(at/len(changes)+1)%2]); err != nil {
				b.Fatal(err)
			}
			at++
			now := time.Now()
			took = append(took, now.Sub(last))
			last = now
		}
		slices.Sort(took)
		return float64(len(took)) / last.Sub(began).Seconds(), took[len(took)*99/100].Seconds()
	}
	var scans atomic.Int64
	scan := func(stop *atomic.Bool) {
		for !stop.Load() {
			n := 0
			store.List(pods, "", func(o virtual.Object) bool {
				if o.Deleting() {
					b.Error("a pod is being deleted")
				}
				n++
				return !stop.Load()
			})
			scans.Add(int64(n))
		}
	}
	spin := func(stop *atomic.Bool) {
		for n := 0; !stop.Load(); n++ {
			spun = n
		}
	}
	beside := func(what func(*atomic.Bool)) (perSecond, p99 float64) {
		var stop atomic.Bool
		var other sync.WaitGroup
		other.Go(func() { what(&stop) })
		defer other.Wait()
		defer stop.Store(true)
		return write(300 * time.Millisecond)
	}
	for b.Loop() {
		const rounds = 31
		var rates, tails, alone, busyRates, busyTails []float64
		for range rounds {
			rate0, tail0 := beside(func(*atomic.Bool) {})
			rate1, tail1 := beside(scan)
			rate2, tail2 := beside(spin)
			rates, tails, alone = append(rates, rate1/rate0), append(tails, tail1/tail0), append(alone, rate0)
			busyRates, busyTails = append(busyRates, rate1/rate2), append(busyTails, tail1/tail2)
		}
		b.ReportMetric(median(rates), "rate/alone")
		b.ReportMetric(median(tails), "p99/alone")
		b.ReportMetric(median(busyRates), "rate/busy")
		b.ReportMetric(median(busyTails), "p99/busy")
		b.ReportMetric(0, "ns/op")
		b.Logf("%.0f changes/s alone; beside a reader %s of that, the 99th percentile %s; the reader saw %d objects", median(alone), short(rates), short(tails), scans.Load())
	}
}

// spun keeps the loop that reads nothing from being nothing.
var spun int

func short(values []float64) string {
	slices.Sort(values)
	return fmt.Sprintf("%.2f…%.2f…%.2f", values[0], values[len(values)/2], values[len(values)-1])
}
