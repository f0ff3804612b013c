// Package temporal runs a Temporal server with its web UI for one developer:
// all four services in one process, on a SQLite file.
//
// It is the released server, not a test double, so timeouts, history, retention
// and limits are those of production. It differs where one machine differs from
// a cluster: one shard, no TLS, nobody to authorize, and none of the throttles
// that protect a shared database (see dynamicConfig).
package temporal

import (
	"time"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// Component is the name of the process, and of its hidden subcommand.
const Component = "temporal"

// Namespace is the one that exists from the start.
const Namespace = "default"

// retention is how long closed workflows stay visible: over a weekend.
const retention = 72 * time.Hour

// The ports of the server. Workers and people use two of them; the others are
// for the services among themselves.
const (
	FrontendPort = "temporal"
	UIPort       = "temporal-ui"
	httpPort     = "temporal-http" // the same API as HTTP; Nexus needs it
	historyPort  = "temporal-history"
	matchingPort = "temporal-matching"
	workerPort   = "temporal-worker"
)

var portNames = []string{FrontendPort, UIPort, httpPort, historyPort, matchingPort, workerPort}

// Settings are what the component is told, as JSON on its command line.
type Settings struct {
	// Database is the path of the SQLite file, made where it is missing.
	Database string
	Ports    statedir.Ports
}
