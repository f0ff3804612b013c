package temporal

import (
	"net/url"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

const clusterName = "active"

// sqlConfig says how the database is opened. With a write-ahead log a commit
// needs no fsync of its own: a kill -9 loses nothing, a power cut may lose the
// last moments. One connection, because SQLite has one writer anyway and the
// server's transactions do not expect to be told that the database is locked.
func sqlConfig(path string) *config.SQL {
	return &config.SQL{
		PluginName: sqlite.PluginName,
		// The plugin puts this into a URI as it is.
		DatabaseName: (&url.URL{Path: path}).EscapedPath(),
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "normal",
			"busy_timeout": "10000",
		},
		MaxConns:     1,
		MaxIdleConns: 1,
	}
}

func serverConfig(s Settings) *config.Config {
	service := func(port string) config.Service {
		return config.Service{RPC: config.RPC{GRPCPort: s.Ports[port], BindOnIP: statedir.Loopback}}
	}
	frontend := service(FrontendPort)
	frontend.RPC.HTTPPort = s.Ports[httpPort]
	cfg := &config.Config{
		Persistence: config.Persistence{
			DefaultStore:     sqlite.PluginName,
			VisibilityStore:  sqlite.PluginName,
			NumHistoryShards: 1, // more are no faster on one SQLite file
			DataStores: map[string]config.DataStore{
				sqlite.PluginName: {SQL: sqlConfig(s.Database)},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {
					Enabled:                true,
					InitialFailoverVersion: 1,
					RPCAddress:             s.Ports.Addr(FrontendPort),
				},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Services: map[string]config.Service{
			string(primitives.FrontendService): frontend,
			string(primitives.HistoryService):  service(historyPort),
			string(primitives.MatchingService): service(matchingPort),
			string(primitives.WorkerService):   service(workerPort),
		},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{
			Archival: config.ArchivalNamespaceDefaults{
				History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
				Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
			},
		},
		PublicClient: config.PublicClient{HostPort: s.Ports.Addr(FrontendPort)},
	}
	cfg.Global.Membership.BroadcastAddress = statedir.Loopback
	return cfg
}

// staticHosts replaces the gossip by which services find each other, and with
// it four ports and the wait for members of the last run to be forgotten.
func staticHosts(p statedir.Ports) map[primitives.ServiceName]static.Hosts {
	return map[primitives.ServiceName]static.Hosts{
		primitives.FrontendService: static.SingleLocalHost(p.Addr(FrontendPort)),
		primitives.HistoryService:  static.SingleLocalHost(p.Addr(historyPort)),
		primitives.MatchingService: static.SingleLocalHost(p.Addr(matchingPort)),
		primitives.WorkerService:   static.SingleLocalHost(p.Addr(workerPort)),
	}
}

// dynamicConfig undoes defaults that are meant for many shards on a shared
// database, or for patience that a developer does not have.
func dynamicConfig() dynamicconfig.StaticClient {
	const unlimited = 10000
	return dynamicconfig.StaticClient{
		// 20 polls a second and shard: with one shard every step of a workflow
		// under load waits for up to 50 ms.
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   unlimited,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      unlimited,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): unlimited,
		dynamicconfig.OutboundProcessorMaxPollRPS.Key():   unlimited,
		// One process serves all: partitions of a task queue only forward to each other.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,
		// Waiting for the result of a run that ended just then takes this long.
		dynamicconfig.HistoryLongPollExpirationInterval.Key(): "2s",
		// A search attribute can be used as soon as it was added.
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): false,
	}
}
