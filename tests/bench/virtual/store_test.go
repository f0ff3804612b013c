// Package virtual_test measures the virtual resource store beside what other operators keep their objects in: the cache
// of a client-go informer. Figures of one machine mean little, so each is a ratio of two that were measured in turns,
// and of several such the median.
package virtual_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// population is how many objects the benchmarks work on.
const population = 100_000

// A process that finds these in its environment is the child of a benchmark: it fills one kind of cache and says what
// that took. Only so does a resident set belong to one cache alone.
const (
	envVariant = "MAINSTAY_BENCH_VARIANT"
	envInput   = "MAINSTAY_BENCH_INPUT"
)

func TestMain(m *testing.M) {
	if variant := os.Getenv(envVariant); variant != "" {
		if err := child(variant, os.Getenv(envInput)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// taken is what filling a cache took.
type taken struct {
	Objects             int
	Seconds             float64
	Heap, Resident, Top float64 // bytes: live, resident once it is full, resident at most
	Collections         uint32
}

// child fills a cache from a file of list responses.
func child(variant, input string) error {
	fill := map[string]func(virtual.Kind, []unstructured.Unstructured) error{}
	var done func() (int, error)
	switch variant {
	case "store":
		store, err := virtual.Open(virtual.Options{InstanceLabel: "mainstay.dev/instance"})
		if err != nil {
			return err
		}
		kinds := map[virtual.Kind][]virtual.Object{}
		fill[variant] = func(kind virtual.Kind, items []unstructured.Unstructured) error {
			for i := range items {
				key := virtual.Key{Kind: kind, Namespace: items[i].GetNamespace(), Name: items[i].GetName()}
				o, err := virtual.DecodedObject(key, items[i].Object)
				if err != nil {
					return err
				}
				kinds[kind] = append(kinds[kind], o)
			}
			return nil
		}
		done = func() (n int, err error) {
			for kind, objects := range kinds {
				if err := store.Replace(kind, objects); err != nil {
					return 0, err
				}
				store.SetSynced(kind, true)
				delete(kinds, kind)
				store.List(kind, "", func(virtual.Object) bool { n++; return true })
			}
			return n, nil
		}
		defer store.Close()
	case "informer", "informer without managedFields":
		kinds := map[virtual.Kind][]any{}
		indexers := []cache.Indexer{}
		fill[variant] = func(kind virtual.Kind, items []unstructured.Unstructured) error {
			for i := range items {
				if variant != "informer" {
					items[i].SetManagedFields(nil)
				}
				kinds[kind] = append(kinds[kind], &items[i])
			}
			return nil
		}
		done = func() (n int, err error) {
			for kind, objects := range kinds {
				indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
				if err := indexer.Replace(objects, "2000000"); err != nil {
					return 0, err
				}
				delete(kinds, kind)
				indexers = append(indexers, indexer)
				n += len(indexer.ListKeys())
			}
			return n, nil
		}
		defer func() { runtime.KeepAlive(indexers) }()
	default:
		return fmt.Errorf("no variant %q", variant)
	}
	f, err := os.Open(input)
	if err != nil {
		return err
	}
	defer f.Close()
	var out taken
	began := time.Now()
	if err := readPages(f, func(kind virtual.Kind, page []byte) error {
		decoded, _, err := unstructured.UnstructuredJSONScheme.Decode(page, nil, nil)
		if err != nil {
			return err
		}
		return fill[variant](kind, decoded.(*unstructured.UnstructuredList).Items)
	}); err != nil {
		return err
	}
	if out.Objects, err = done(); err != nil {
		return err
	}
	out.Seconds = time.Since(began).Seconds()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	out.Collections = stats.NumGC
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	out.Heap = float64(stats.HeapAlloc)
	if out.Resident, out.Top, err = resident(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// resident reads the process's resident set, now and at most.
func resident() (now, most float64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kb, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kb * 1024
		case "VmHWM:":
			most = kb * 1024
		}
	}
	return now, most, nil
}

// writePages writes list responses into a file: kind and page, each after its length.
func writePages(name string, objects int) (size int, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = lists(objects, func(kind virtual.Kind, page []byte) error {
		size += len(page)
		for _, b := range [][]byte{[]byte(kind.APIVersion() + " " + kind.Kind), page} {
			if err := binary.Write(w, binary.LittleEndian, uint32(len(b))); err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	return size, errors.Join(err, w.Flush(), f.Close())
}

func readPages(f io.Reader, fn func(kind virtual.Kind, page []byte) error) error {
	r := bufio.NewReaderSize(f, 1<<16)
	var buffers [2][]byte
	for {
		for i := range buffers {
			var n uint32
			if err := binary.Read(r, binary.LittleEndian, &n); err == io.EOF && i == 0 {
				return nil
			} else if err != nil {
				return err
			}
			buffers[i] = slices.Grow(buffers[i][:0], int(n))[:n]
			if _, err := io.ReadFull(r, buffers[i]); err != nil {
				return err
			}
		}
		apiVersion, kind, _ := strings.Cut(string(buffers[0]), " ")
		if err := fn(virtual.ParseKind(apiVersion, kind), buffers[1]); err != nil {
			return err
		}
	}
}

// run starts this program as the child that fills a cache.
func run(b *testing.B, variant, input string) (out taken) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envVariant+"="+variant, envInput+"="+input)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s: %v", variant, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		b.Fatal(err)
	}
	if out.Objects != population {
		b.Fatalf("%s holds %d objects", variant, out.Objects)
	}
	return out
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// BenchmarkFill compares what 100,000 objects take, from the bytes of list responses until they can be read.
func BenchmarkFill(b *testing.B) {
	input := filepath.Join(b.TempDir(), "lists")
	size, err := writePages(input, population)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		variants := []string{"informer", "informer without managedFields", "store"}
		got := map[string][]taken{}
		for range 3 {
			for _, v := range variants {
				got[v] = append(got[v], run(b, v, input))
			}
		}
		ratio := func(of func(taken) float64, baseline string) float64 {
			var ratios []float64
			for i, t := range got["store"] {
				ratios = append(ratios, of(t)/of(got[baseline][i]))
			}
			return median(ratios)
		}
		for _, m := range []struct {
			name string
			of   func(taken) float64
		}{
			{"heap", func(t taken) float64 { return t.Heap }},
			{"rss", func(t taken) float64 { return t.Resident }},
			{"peak-rss", func(t taken) float64 { return t.Top }},
			{"time", func(t taken) float64 { return t.Seconds }},
		} {
			b.ReportMetric(ratio(m.of, "informer"), m.name+"/informer")
			b.ReportMetric(ratio(m.of, "informer without managedFields"), m.name+"/informer-trimmed")
		}
		b.ReportMetric(0, "ns/op")
		for _, v := range variants {
			t := got[v][0]
			b.Logf("%-31s %6.0f B/object live, %6.0f B resident, %6.0f B at most, ready in %.1f s, %d collections", v,
				t.Heap/population, t.Resident/population, t.Top/population, t.Seconds, t.Collections)
		}
		b.Logf("the API server sends %d B/object", size/population)
	}
}
