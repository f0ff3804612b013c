package sense

import (
	"strings"
	"testing"

	"github.com/mainstay-dev/mainstay/specs/plan"
	"github.com/mainstay-dev/mainstay/watcher/virtual"
)

// What a rule does to hold an object is no change of it, and somebody else's finalizer is one.
func TestAHoldIsNoChange(t *testing.T) {
	hold := plan.HoldFinalizer(plan.Instance{UID: "u"}, "r")
	if !strings.HasPrefix(hold, virtual.HoldPrefix) {
		t.Fatalf("%s does not begin with %s", hold, virtual.HoldPrefix)
	}
	hash := func(metadata string) string { return virtual.Hash([]byte(`{"metadata":{"name":"a"` + metadata + `}}`)) }
	if hash("") != hash(`,"finalizers":["`+hold+`"]`) {
		t.Error("a hold counts")
	}
	if hash(`,"finalizers":["x/y"]`) != hash(`,"finalizers":["`+hold+`","x/y"]`) {
		t.Error("a hold beside another finalizer counts")
	}
	if hash("") == hash(`,"finalizers":["x/y"]`) {
		t.Error("a foreign finalizer doesn't count")
	}
}
