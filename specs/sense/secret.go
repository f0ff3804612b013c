package sense

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// lastApplied is where kubectl keeps the whole manifest, a Secret's values included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// digestPrefix marks a digest. No value of a Secret begins so: those are base64, which has no colon.
const digestPrefix = "sha256:"

// IsSecret tells the kind whose content is never kept.
func IsSecret(kind virtual.Kind) bool { return kind.Group == "" && kind.Kind == "Secret" }

// IsDigest tells whether a value of a Secret's data is what Redact left of it.
func IsDigest(value string) bool { return strings.HasPrefix(value, digestPrefix) }

// Redact takes out of a decoded Secret, in place, what is secret: each value under data becomes a short digest, so that
// one sees that it changed and never what it is. Of other kinds it takes nothing. The digest is keyed by the object's
// uid, so that equal values in two Secrets don't show. What is redacted already stays as it is.
func Redact(kind virtual.Kind, object map[string]any) {
	if !IsSecret(kind) {
		return
	}
	delete(object, "stringData")
	meta, _ := object["metadata"].(map[string]any)
	if annotations, ok := meta["annotations"].(map[string]any); ok {
		delete(annotations, lastApplied)
		if len(annotations) == 0 {
			delete(meta, "annotations")
		}
	}
	data, ok := object["data"].(map[string]any)
	if !ok {
		// A Secret's data that is no mapping is none that an API server gives out; nothing of it may stay.
		delete(object, "data")
		return
	}
	uid, _ := meta["uid"].(string)
	for name, value := range data {
		text, ok := value.(string)
		if !ok {
			text = fmt.Sprint(value)
		}
		if IsDigest(text) {
			continue
		}
		mac := hmac.New(sha256.New, []byte(uid))
		mac.Write([]byte(text))
		data[name] = digestPrefix + hex.EncodeToString(mac.Sum(nil)[:8])
	}
}
