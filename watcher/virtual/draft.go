package virtual

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
)

var errNoObject = errors.New("not a Kubernetes object: it has no metadata")

// drafts are kept for reuse: what comes in must not cost more garbage than it leaves in the store.
var drafts = sync.Pool{New: func() any { return new(draft) }}

// maxDraft is the size above which a draft's buffer is not kept.
const maxDraft = 256 << 10

// draft is a record in the making. Its parts come in any order; only one string is allocated in the end.
type draft struct {
	flags      byte
	parts      [sections][2]int // in buf
	buf        []byte
	meta, rest []byte
	values     valueWriter
}

func (d *draft) reset() {
	d.flags, d.parts = 0, [sections][2]int{}
	d.buf, d.meta, d.rest = d.buf[:0], append(d.meta[:0], 0), append(d.rest[:0], 0)
	d.values.depth, d.values.open = 0, d.values.open[:0]
}

// record puts the parts in their order.
func (d *draft) record() record {
	for _, o := range []struct {
		id sectionID
		b  []byte
	}{{secMeta, d.meta}, {secRest, d.rest}} {
		if len(o.b) > 1 {
			from := len(d.buf)
			d.buf = closeHead(append(d.buf, o.b...), from, jsonObject)
			d.parts[o.id] = [2]int{from, len(d.buf)}
		}
	}
	size, width := 0, 2
	for _, p := range d.parts {
		size += p[1] - p[0]
	}
	if 1+2*int(sections)+size > 0xffff {
		d.flags |= wide
		width = 4
	}
	from := len(d.buf)
	d.buf = append(d.buf, d.flags)
	end := 1 + width*int(sections)
	for _, p := range d.parts {
		end += p[1] - p[0]
		if width == 4 {
			d.buf = binary.LittleEndian.AppendUint32(d.buf, uint32(end))
		} else {
			d.buf = binary.LittleEndian.AppendUint16(d.buf, uint16(end))
		}
	}
	var out strings.Builder
	out.Grow(end)
	out.Write(d.buf[from:])
	for _, p := range d.parts {
		out.Write(d.buf[p[0]:p[1]])
	}
	return record(out.String())
}

// draftRecord lends fill a draft and makes a record of it.
func draftRecord(fill func(*draft) error) (record, error) {
	d := drafts.Get().(*draft)
	d.reset()
	err := fill(d)
	var r record
	if err == nil {
		r = d.record()
	}
	if cap(d.buf) <= maxDraft {
		drafts.Put(d)
	}
	return r, err
}

// textRecord makes a record of an object's JSON, without managedFields and without an instance.
func textRecord(key Key, text string) (record, error) {
	return draftRecord(func(d *draft) error {
		r := textReader{text: text}
		if r.space() != '{' {
			return errNoObject
		}
		metadata := false
		err := r.members(func() error {
			kind, name, err := r.quoted()
			if err != nil {
				return err
			}
			if err := r.colon(); err != nil {
				return err
			}
			if unescaped(kind, name) == "metadata" && r.space() == '{' {
				metadata = true
				return d.readMetadata(&r, key)
			}
			return d.read(&r, kind, name, topMember(key, unescaped(kind, name)), &d.rest)
		})
		if err == nil {
			err = r.end()
		}
		if err == nil && !metadata {
			err = errNoObject
		}
		return err
	})
}

func (d *draft) readMetadata(r *textReader, key Key) error {
	return r.members(func() error {
		kind, name, err := r.quoted()
		if err != nil {
			return err
		}
		if err := r.colon(); err != nil {
			return err
		}
		return d.read(r, kind, name, metadataMember(key, unescaped(kind, name)), &d.meta)
	})
}

// place says where a member goes: to a part of its own, or as text; it may be what the key says already, or dropped;
// and else it goes where the rest is.
type place struct {
	part sectionID
	as   placeKind
	flag byte
	same string
}

type placeKind int

const (
	asRest placeKind = iota
	asSection
	asText
	asKey
	asNothing
)

func topMember(key Key, name string) place {
	switch name {
	case "apiVersion":
		return place{as: asKey, flag: hasAPIVersion, same: key.APIVersion()}
	case "kind":
		return place{as: asKey, flag: hasKind, same: key.Kind.Kind}
	case "spec":
		return place{as: asSection, part: secSpec}
	case "status":
		return place{as: asSection, part: secStatus}
	case "data":
		return place{as: asSection, part: secData}
	}
	return place{}
}

func metadataMember(key Key, name string) place {
	switch name {
	case "name":
		return place{as: asKey, flag: hasName, same: key.Name}
	case "namespace":
		return place{as: asKey, flag: hasNamespace, same: key.Namespace}
	case "managedFields":
		return place{as: asNothing}
	}
	for i, n := range metadataTexts {
		if n == name {
			return place{as: asText, part: sectionID(i)}
		}
	}
	for i, n := range metadataSections {
		if n == name {
			return place{as: asSection, part: secLabels + sectionID(i)}
		}
	}
	return place{}
}

// read puts the value that r stands before in its place.
func (d *draft) read(r *textReader, kind byte, name string, p place, rest *[]byte) (err error) {
	from := len(d.buf)
	if d.buf, err = r.value(d.buf); err != nil {
		return err
	}
	d.put(from, kind, name, p, rest)
	return nil
}

// put places the element that begins at from in the buffer and ends with it.
func (d *draft) put(from int, kind byte, name string, p place, rest *[]byte) {
	b := d.buf[from:]
	head := 1
	if b[0] == 0xc0|jsonText {
		head = 2
	}
	// Texts of more than 255 bytes are no uids, versions, times or names.
	short := b[0]&0x0f == jsonText && b[0] < 0xd0 && len(b) > head
	switch {
	case p.as == asSection:
		d.parts[p.part] = [2]int{from, len(d.buf)}
		return
	case p.as == asText && short:
		d.parts[p.part] = [2]int{from + head, len(d.buf)}
		return
	case p.as == asKey && short && string(b[head:]) == p.same:
		d.flags |= p.flag
	case p.as == asNothing:
	default:
		*rest = append(appendElement(*rest, kind, name), b...)
	}
	d.buf = d.buf[:from]
}

// valueRecord makes a record of a decoded object, as textRecord does of its JSON.
func valueRecord(key Key, object map[string]any) (record, error) {
	metadata, ok := object["metadata"].(map[string]any)
	if !ok {
		return "", errNoObject
	}
	return draftRecord(func(d *draft) error {
		return d.values.members(object, func(name string, value any) error {
			d.values.depth = 1
			if name != "metadata" {
				return d.write(name, value, topMember(key, name), &d.rest)
			}
			return d.values.members(metadata, func(name string, value any) error {
				d.values.depth = 2
				return d.write(name, value, metadataMember(key, name), &d.meta)
			})
		})
	})
}

func (d *draft) write(name string, value any, p place, rest *[]byte) (err error) {
	if p.as == asNothing {
		return nil
	}
	from := len(d.buf)
	if d.buf, err = d.values.value(d.buf, value); err != nil {
		return err
	}
	kind, escaped := jsonText, name
	if e := appendEscaped(nil, name); string(e) != name {
		kind, escaped = jsonTextJ, string(e)
	}
	d.put(from, kind, escaped, p, rest)
	return nil
}
