//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
)

// record saves a workflow's history for ../replay, if MAINSTAY_RECORD is set:
//
//	MAINSTAY_RECORD=1 make e2e
//
// Do that when the workflow code changed compatibly (or before the first release, incompatibly), and commit the files.
func (sc *scenario) record(name, workflowID string) {
	sc.Helper()
	if os.Getenv("MAINSTAY_RECORD") == "" {
		return
	}
	h := &history.History{}
	it := sc.Temporal.GetWorkflowHistory(sc.ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for it.HasNext() {
		e, err := it.Next()
		if err != nil {
			sc.Fatal(err)
		}
		h.Events = append(h.Events, e)
	}
	out, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(h)
	if err != nil {
		sc.Fatal(err)
	}
	// Where it ran is nobody's business.
	host, _ := os.Hostname()
	if host != "" {
		out = []byte(strings.ReplaceAll(string(out), host, "host"))
	}
	path := filepath.Join("..", "replay", "testdata", name+".json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		sc.Fatal(err)
	}
	if err := os.WriteFile(path, append(out, '\n'), 0o644); err != nil {
		sc.Fatal(err)
	}
}
