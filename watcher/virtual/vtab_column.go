package virtual

import (
	"strconv"
	"strings"
	"unsafe"

	"github.com/ncruces/go-sqlite3"
)

// Column hands over a value of the row.
func (r *rowCursor) Column(ctx sqlite3.Context, n int) (err error) {
	defer outOfMemory(&err)
	if n == columnKey {
		namespace, name := r.names()
		// No name holds a slash.
		ctx.ResultText(namespace + "/" + name)
		return nil
	}
	if w := r.table.conn.write; w != nil && ctx.VTabNoChange() {
		return nil
	}
	switch n {
	case columnAPIVersion:
		resultText(ctx, r.kind.APIVersion())
	case columnKind:
		resultText(ctx, r.kind.Kind.Kind)
	case columnNamespace:
		namespace, _ := r.names()
		resultText(ctx, namespace)
	case columnName:
		_, name := r.names()
		resultText(ctx, name)
	case columnUID:
		resultText(ctx, r.record().uid())
	case columnVersion:
		resultText(ctx, r.record().resourceVersion())
	case columnCreated:
		resultText(ctx, r.record().created())
	case columnDeleted:
		resultText(ctx, r.record().deleted())
	case columnInstance:
		resultText(ctx, r.record().instance())
	case columnReady:
		if fn := r.table.conn.store.options.Ready; fn != nil {
			if ready, known := fn(r.record().object(r.objectKey())); known {
				ctx.ResultBool(ready)
			}
		}
	case columnObject:
		buffer := buffers.Get().(*[]byte)
		*buffer = r.record().appendDocument((*buffer)[:0], r.objectKey())
		ctx.ResultBlob(*buffer)
		buffers.Put(buffer)
	default:
		if n >= columnField {
			r.field(ctx, n)
			return nil
		}
		if b := r.record().section(sectionColumns[n-columnLabels]); b != "" {
			ctx.ResultBlob(unsafe.Slice(unsafe.StringData(b), len(b)))
		}
	}
	return nil
}

// sectionColumns are the sections that are columns, from labels on.
var sectionColumns = [...]sectionID{secLabels, secAnnotations, secOwners, secSpec, secStatus, secData}

// resultText hands over a text; empty is NULL.
func resultText(ctx sqlite3.Context, s string) {
	if s != "" {
		ctx.ResultText(s)
	}
}

func (r *rowCursor) objectKey() Key {
	namespace, name := r.names()
	return Key{Kind: r.kind.Kind, Namespace: strings.Clone(namespace), Name: strings.Clone(name)}
}

// field hands over what ->> makes of a field.
func (r *rowCursor) field(ctx sqlite3.Context, n int) {
	if i, ok := r.indexedLabel(); ok && r.access.terms[i].column == n {
		ctx.ResultText(r.values[i].text)
		return
	}
	if n -= columnField; n >= len(r.table.conn.fields) {
		return
	}
	b := r.table.conn.fields[n].in(r.record())
	if b == "" {
		return
	}
	kind, payload, _, _ := element(b)
	switch {
	case isText(kind):
		ctx.ResultText(unescaped(kind, payload))
	case kind == jsonTrue || kind == jsonFalse:
		ctx.ResultBool(kind == jsonTrue)
	case kind == jsonInt || kind == jsonFloat:
		if n, err := strconv.ParseInt(payload, 10, 64); err == nil && kind == jsonInt {
			ctx.ResultInt64(n)
		} else if f, err := strconv.ParseFloat(payload, 64); err == nil {
			ctx.ResultFloat(f)
		}
	case kind == jsonArray || kind == jsonObject:
		if text, err := appendJSON(nil, b); err == nil {
			ctx.ResultText(string(text))
		}
	}
}

// equals tells whether ->> makes the value of a field.
func (v *termValue) equals(b string) bool {
	if b == "" {
		return false
	}
	kind, payload, _, err := element(b)
	switch {
	case err != nil:
		return false
	case v.kind == sqlite3.TEXT && isText(kind):
		return textIs(kind, payload, v.text)
	case v.kind == sqlite3.TEXT:
		text, err := appendJSON(nil, b)
		return (kind == jsonArray || kind == jsonObject) && err == nil && string(text) == v.text
	case kind == jsonTrue || kind == jsonFalse:
		payload = map[byte]string{jsonTrue: "1", jsonFalse: "0"}[kind]
	case kind != jsonInt && kind != jsonFloat:
		return false
	}
	if n, err := strconv.ParseInt(payload, 10, 64); err == nil && v.kind == sqlite3.INTEGER {
		return n == v.integer
	}
	f, err := strconv.ParseFloat(payload, 64)
	if v.kind == sqlite3.INTEGER {
		return err == nil && f == float64(v.integer)
	}
	return err == nil && f == v.float
}
