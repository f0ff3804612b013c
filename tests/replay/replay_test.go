// Package replay holds histories of real runs against today's workflow code: a change that would break workflows which
// are running at some user's fails here. The histories are recorded by the scenarios: see ../e2e/record_test.go.
package replay

import (
	"os"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/worker"

	"github.com/mainstay-dev/mainstay/workflows"
)

func TestHistoriesReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("only %d histories are recorded", len(files))
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			if info, err := os.Stat(f); err != nil || info.Size() < 1000 {
				t.Fatalf("no history: %v", err)
			}
			r := worker.NewWorkflowReplayer()
			workflows.Register(r)
			if err := r.ReplayWorkflowHistoryFromJSONFile(nil, f); err != nil {
				t.Error(err)
			}
		})
	}
}
