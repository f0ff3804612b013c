package kubernetes

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// writeKubeconfig writes a file that needs no other, so that it can be copied,
// with the certificate called user.
func writeKubeconfig(path, user string, ports statedir.Ports, pki PKI) error {
	ca, err := os.ReadFile(pki.Cert(caCert))
	if err != nil {
		return fmt.Errorf("read the CA: %w", err)
	}
	cert, err := os.ReadFile(pki.Cert(user))
	if err != nil {
		return fmt.Errorf("read the certificate of %s: %w", user, err)
	}
	key, err := os.ReadFile(pki.Key(user))
	if err != nil {
		return fmt.Errorf("read the key of %s: %w", user, err)
	}
	const name = "devstack"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{
		Server:                   "https://" + ports.Addr(APIServerPort),
		CertificateAuthorityData: ca,
	}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user, Namespace: "default"}
	config.CurrentContext = name
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("format the kubeconfig of %s: %w", user, err)
	}
	return statedir.Replace(path, content, 0o600)
}
