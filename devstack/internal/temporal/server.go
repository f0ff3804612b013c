package temporal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Run is the component: it serves until the context is done.
func Run(ctx context.Context, s Settings) error {
	cfg := serverConfig(s)
	if err := prepare(s.Database); err != nil {
		return err
	}
	// The server says much at the level info, all of it for its operators.
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Level: "warn", Stdout: true, Format: "console"}))
	server, err := temporal.NewServer(
		temporal.WithConfig(cfg),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(staticHosts(s.Ports)),
		temporal.WithLogger(logger),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper {
			return authorization.NewNoopClaimMapper()
		}),
		temporal.WithDynamicConfigClient(dynamicConfig()),
	)
	if err != nil {
		return fmt.Errorf("make the Temporal server: %w", err)
	}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start the Temporal server: %w", err)
	}
	ui := startUI(s.Ports)

	<-ctx.Done()
	ui.Stop()
	if err := server.Stop(); err != nil {
		return fmt.Errorf("stop the Temporal server: %w", err)
	}
	return nil
}

// prepare makes the database with its schema and the namespace. It works on a
// temporary name, so that a database that exists is always a complete one.
func prepare(path string) error {
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	draft := path + ".new"
	for _, leftover := range []string{draft, draft + "-wal", draft + "-shm"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	db := sqlConfig(draft)
	// A rollback journal leaves a single file to rename.
	db.ConnectAttributes["journal_mode"] = "memory"
	db.ConnectAttributes["synchronous"] = "off"
	if err := sqlite.SetupSchema(db); err != nil {
		return fmt.Errorf("set up the schema: %w", err)
	}
	namespace, err := sqlite.NewNamespaceConfig(clusterName, Namespace, false, nil)
	if err != nil {
		return fmt.Errorf("describe the namespace: %w", err)
	}
	namespace.Detail.Config.Retention = durationpb.New(retention)
	if err := sqlite.CreateNamespaces(db, namespace); err != nil {
		return fmt.Errorf("create the namespace: %w", err)
	}
	return os.Rename(draft, path)
}
