package stack

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Main runs a package's tests on one devstack that they share, and returns the exit code for TestMain. Use gets the
// stack before the tests run.
func Main(m interface{ Run() int }, use func(*Stack)) int {
	dir, err := os.MkdirTemp("", "mainstay-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := Up(ctx, dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start devstack:", err)
		return 1
	}
	defer s.Down()
	use(s)
	return m.Run()
}
