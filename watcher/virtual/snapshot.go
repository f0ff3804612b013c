package virtual

import (
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// snapshot is the store at one moment. Holding it costs no reader and no writer anything but the memory of what has
// changed since.
type snapshot struct{ tree *btree.Map[string, string] }

// snapshot takes the present one. All readers between two changes share it.
func (s *Store) snapshot() *snapshot {
	if v := s.latest.Load(); v != nil {
		return v
	}
	s.treeMu.Lock()
	defer s.treeMu.Unlock()
	v := s.latest.Load()
	if v == nil {
		v = &snapshot{tree: s.tree.Copy()}
		s.latest.Store(v)
	}
	return v
}

// get reads one key.
func (v *snapshot) get(key string) (value string, ok bool) { return v.tree.Get(key) }

// record reads the record at a key.
func (v *snapshot) record(key string) (record, bool) {
	value, ok := v.tree.Get(key)
	return record(value), ok
}

// seek is a cursor before the first of the keys with a prefix.
func (v *snapshot) seek(prefix string) *cursor {
	return &cursor{tree: v.tree, iter: v.tree.Iter(), prefix: prefix}
}

// cursor walks over keys in their order.
type cursor struct {
	key, value string

	tree   *btree.Map[string, string]
	iter   btree.MapIter[string, string]
	prefix string
	steps  int
	// end is the first key that hasn't the prefix; it is looked up once a walk proves to be long.
	end string
}

// longWalk is the number of steps from which on it pays to know the end.
const longWalk = 64

// next goes one step; false: there are no more.
func (c *cursor) next() bool {
	c.steps++
	if c.steps == 1 {
		if !c.iter.Seek(c.prefix) {
			return false
		}
	} else if !c.iter.Next() {
		return false
	}
	c.key, c.value = c.iter.Key(), c.iter.Value()
	if c.steps < longWalk {
		return strings.HasPrefix(c.key, c.prefix)
	}
	if c.steps == longWalk && c.prefix != "" {
		c.tree.Ascend(after(c.prefix), func(key, _ string) bool {
			c.end = key
			return false
		})
	}
	// It is the same string, so that the key needs not be read: that would be a cache miss.
	return c.end == "" || unsafe.StringData(c.key) != unsafe.StringData(c.end)
}

// after is the first string that follows all those with a prefix that ends with sep.
func after(prefix string) string { return prefix[:len(prefix)-1] + "\x01" }

// view is b as a string, without copying. It must not be used after b changes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
