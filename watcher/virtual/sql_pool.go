package virtual

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// pooledMemory is what a connection that is kept may take. The memory of a connection never shrinks.
const pooledMemory = 16 << 20

var errClosed = errors.New("the virtual resource store is closed")

// engine is the store's part of SQL: its tables and a bounded pool of connections. Its zero value is ready.
type engine struct {
	once  sync.Once
	slots chan struct{}

	resources atomic.Pointer[[]Resource]

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

func (e *engine) enter(ctx context.Context) error {
	e.once.Do(func() { e.slots = make(chan struct{}, max(4, runtime.GOMAXPROCS(0))) })
	select {
	case e.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a free SQL connection: %w", ctx.Err())
	}
}

func (e *engine) leave() { <-e.slots }

// take returns a connection that nobody uses: that which was used last, for its caches.
func (e *engine) take(s *Store) (*conn, error) {
	resources := e.resources.Load()
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return nil, errClosed
		}
		n := len(e.idle)
		if n == 0 {
			e.mu.Unlock()
			return openConn(s, pooledMemory)
		}
		c := e.idle[n-1]
		e.idle[n-1] = nil
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		if c.resources == resources {
			return c, nil
		}
		// It was opened for other tables.
		c.close()
	}
}

func (e *engine) put(c *conn) {
	e.mu.Lock()
	keep := !e.closed && !c.broken
	if keep {
		e.idle = append(e.idle, c)
	}
	e.mu.Unlock()
	if !keep {
		c.close()
	}
}

func (e *engine) close() {
	e.mu.Lock()
	idle := e.idle
	e.idle, e.closed = nil, true
	e.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

func (e *engine) serve(r Resource) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.served()
	if slices.Contains(old, r) {
		return
	}
	served := slices.DeleteFunc(slices.Clone(old), func(o Resource) bool { return o.Table() == r.Table() })
	served = append(served, r)
	slices.SortFunc(served, func(a, b Resource) int { return strings.Compare(a.Table(), b.Table()) })
	e.resources.Store(&served)
}

func (e *engine) served() []Resource {
	if p := e.resources.Load(); p != nil {
		return *p
	}
	return nil
}
