package virtual

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// Encode is the compact JSON of a decoded object, without managedFields: what NewObject makes the same of as DecodedObject
// does of the object. It leaves the object as it is.
func Encode(object map[string]any) ([]byte, error) {
	if meta, ok := object["metadata"].(map[string]any); ok && meta["managedFields"] != nil {
		meta = maps.Clone(meta)
		delete(meta, "managedFields")
		object = maps.Clone(object)
		object["metadata"] = meta
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	// Nobody puts this JSON into a web page, and < is shorter than \u003c.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
