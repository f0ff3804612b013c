package plan_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/mainstay-dev/mainstay/specs/plan"
)

// TestParams: a command comes out of a history as it went in.
func TestParams(t *testing.T) {
	in := plan.Command{Kind: plan.KindSQL, Name: "a", SQL: &plan.SQL{MaxRows: 5, Statements: []plan.Query{{Text: "SELECT 1", At: "x"}}, Params: map[string]any{
		"int": int64(9007199254740993), "float": 1.5, "text": "a", "null": nil, "bool": true,
		"list": []any{int64(1), map[string]any{"n": int64(2)}},
	}}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out plan.Command
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("in  %#v\nout %#v", in.SQL, out.SQL)
	}
}
