package virtual

import (
	"slices"
	"strings"

	"github.com/tidwall/buntdb"
)

// replace writes an object and all its index keys. An empty old means that there was none, an empty now that there is
// none any more. An index key is written only if what it is made of has changed.
func replace(tx *txn, at string, old, now record) error {
	for _, index := range []struct {
		same bool
		keys func(r record) []string
	}{
		{old.instance() == now.instance(), func(r record) []string { return instanceKeys(at, r) }},
		{old.section(secAnnotations) == now.section(secAnnotations), func(r record) []string { return releaseKeys(at, r) }},
		{old.section(secOwners) == now.section(secOwners), func(r record) []string { return ownerKeys(at, r) }},
		{old.section(secLabels) == now.section(secLabels), func(r record) []string {
			return labelKeys(at, r, tx.store.options.IndexedLabels)
		}},
	} {
		if index.same {
			continue
		}
		gone, set := index.keys(old), index.keys(now)
		for _, key := range gone {
			if !slices.Contains(set, key) {
				if err := tx.remove(key); err != nil {
					return err
				}
			}
		}
		for _, key := range set {
			if !slices.Contains(gone, key) {
				if err := tx.set(key, "", nil); err != nil {
					return err
				}
			}
		}
	}
	if now == "" {
		return tx.remove(spaceObject + at)
	}
	key := spaceObject + at
	if uid := now.uid(); uid != "" && uid != old.uid() {
		// The value shares the memory of the object's key.
		if err := tx.set(spaceUID+uid, key[len(spaceObject):], nil); err != nil {
			return err
		}
	}
	return tx.set(key, string(now), nil)
}

func instanceKeys(at string, r record) []string {
	if instance := r.instance(); instance != "" {
		return []string{spaceInstance + instance + sep + at}
	}
	return nil
}

func releaseKeys(at string, r record) []string {
	if release := r.release(); release != "" {
		return []string{spaceRelease + release + sep + at}
	}
	return nil
}

func ownerKeys(at string, r record) (keys []string) {
	r.eachOwner(func(uid string) bool {
		keys = append(keys, spaceDependent+uid+sep+at)
		return true
	})
	return keys
}

func labelKeys(at string, r record, labels []string) (keys []string) {
	kind, rest, _ := strings.Cut(at, sep)
	for _, label := range labels {
		// An empty value is a value.
		if value, ok := text(lookup(r.section(secLabels), label)); ok && !strings.Contains(value, sep) {
			keys = append(keys, labelPrefix(kind, label, value)+rest)
		}
	}
	return keys
}

// labelPrefix is what the index keys of a kind's objects with a label begin with; namespace and name follow.
func labelPrefix(kind, label, value string) string {
	return spaceLabel + kind + sep + label + sep + value + sep
}

// bury leaves r's tombstone. Its uid stays known as long: see byUID.
func (s *Store) bury(tx *txn, at string, r record) error {
	expiring := &buntdb.SetOptions{Expires: true, TTL: s.options.TombstoneTTL}
	if err := tx.set(spaceTombstone+at, string(r), expiring); err != nil {
		return err
	}
	if there, err := tx.Get(spaceUID + r.uid()); err != nil || there != at {
		return nil
	}
	return tx.set(spaceUID+r.uid(), at, expiring)
}
