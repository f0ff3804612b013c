package temporal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
	"github.com/mainstay-dev/mainstay/devstack/internal/supervise"
)

// Up starts the server as a component of group and returns when it is ready,
// with what its users need to know.
func Up(ctx context.Context, group *supervise.Group, dir statedir.Dir, given statedir.Ports) ([]statedir.Var, error) {
	ports, err := dir.Ports(statedir.Temporal, portNames, given)
	if err != nil {
		return nil, err
	}
	settings, err := json.Marshal(Settings{Database: dir.Half(statedir.Temporal, "temporal.db"), Ports: ports})
	if err != nil {
		return nil, err
	}
	err = group.Start(supervise.Component{
		Name:  Component,
		Args:  []string{string(settings)},
		Log:   dir.Log(Component),
		Grace: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, ports); err != nil {
		return nil, err
	}
	return []statedir.Var{
		{Name: "TEMPORAL_ADDRESS", Value: ports.Addr(FrontendPort)},
		{Name: "TEMPORAL_NAMESPACE", Value: Namespace},
		{Name: "TEMPORAL_UI", Value: uiURL(ports)},
	}, nil
}

func uiURL(p statedir.Ports) string { return "http://" + p.Addr(UIPort) }

// waitReady returns when a client can use the namespace and the UI answers.
func waitReady(ctx context.Context, ports statedir.Ports) error {
	conn, err := grpc.NewClient(ports.Addr(FrontendPort),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer conn.Close()
	for {
		last := checkReady(ctx, conn, uiURL(ports))
		if last == nil {
			return nil
		}
		// gRPC's own back-off after a refused connection grows to seconds.
		conn.ResetConnectBackoff()
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Temporal: %w (last: %v)", context.Cause(ctx), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func checkReady(ctx context.Context, conn *grpc.ClientConn, ui string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{
		Service: workflowservice.WorkflowService_ServiceDesc.ServiceName,
	})
	if err != nil {
		return err
	}
	if health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("the frontend is %s", health.GetStatus())
	}
	_, err = workflowservice.NewWorkflowServiceClient(conn).DescribeNamespace(ctx,
		&workflowservice.DescribeNamespaceRequest{Namespace: Namespace})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ui, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the UI answers %s", resp.Status)
	}
	return nil
}
