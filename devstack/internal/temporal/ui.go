package temporal

import (
	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// startUI serves the web UI in the background. It ends the process when it
// cannot listen, which the supervising process reports.
func startUI(p statedir.Ports) *uiserver.Server {
	ui := uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		TemporalGRPCAddress: p.Addr(FrontendPort),
		Host:                statedir.Loopback,
		Port:                p[UIPort],
		EnableUI:            true,
		DefaultNamespace:    Namespace,
		DisableNewsFetch:    true, // nothing here talks to the Internet
		HideLogs:            true,
		// Plain HTTP on loopback: browsers refuse a secure cookie there.
		CORS: uiconfig.CORS{CookieInsecure: true},
	}))
	go func() { _ = ui.Start() }()
	return ui
}
