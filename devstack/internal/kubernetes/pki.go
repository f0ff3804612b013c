package kubernetes

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/mainstay-dev/mainstay/devstack/internal/statedir"
)

// PKI is the folder with the certificates and keys. They are made once, so that
// kubeconfigs and tokens that were handed out stay valid when the stack is
// started again.
type PKI string

// The names of the pairs. A service account key has no certificate.
const (
	caCert                = "ca"
	servingCert           = "apiserver"
	serviceAccountKey     = "service-accounts"
	adminCert             = "admin"
	controllerManagerCert = "controller-manager"
	schedulerCert         = "scheduler"
	kwokCert              = "kwok"
)

// clientCerts says who the clients are: user (CN) and group (O). The roles of
// the first two are among those that the API server creates itself.
var clientCerts = map[string]pkix.Name{
	controllerManagerCert: {CommonName: "system:kube-controller-manager"},
	schedulerCert:         {CommonName: "system:kube-scheduler"},
	kwokCert:              {CommonName: "kwok", Organization: []string{"system:masters"}},
	adminCert:             {CommonName: "devstack", Organization: []string{"system:masters"}},
}

const validFor = 10 * 365 * 24 * time.Hour

// Cert is the path of a certificate.
func (p PKI) Cert(name string) string { return filepath.Join(string(p), name+".crt") }

// Key is the path of a private key.
func (p PKI) Key(name string) string { return filepath.Join(string(p), name+".key") }

// OpenPKI makes what is missing. All of it is made under another name first, so
// that a folder that exists is complete.
func OpenPKI(dir string) (PKI, error) {
	_, err := os.Stat(dir)
	if err == nil {
		return PKI(dir), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	draft := dir + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return "", err
	}
	if err := os.Mkdir(draft, 0o700); err != nil {
		return "", err
	}
	if err := PKI(draft).generate(); err != nil {
		return "", fmt.Errorf("make certificates: %w", err)
	}
	return PKI(dir), os.Rename(draft, dir)
}

func (p PKI) generate() error {
	ca := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "devstack"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	caKey, err := p.issue(caCert, ca, ca, nil)
	if err != nil {
		return err
	}
	serving := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.ParseIP(statedir.Loopback), net.ParseIP(firstServiceIP)},
	}
	if _, err := p.issue(servingCert, serving, ca, caKey); err != nil {
		return err
	}
	for name, subject := range clientCerts {
		client := &x509.Certificate{
			Subject:     subject,
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if _, err := p.issue(name, client, ca, caKey); err != nil {
			return err
		}
	}
	_, err = p.newKey(serviceAccountKey)
	return err
}

// issue writes a new key and its certificate, signed by caKey or, where that is
// nil, by itself.
func (p PKI) issue(name string, cert, ca *x509.Certificate, caKey crypto.Signer) (crypto.Signer, error) {
	key, err := p.newKey(name)
	if err != nil {
		return nil, err
	}
	if caKey == nil {
		caKey = key
	}
	cert.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	cert.NotBefore = time.Now().Add(-time.Hour) // clocks that were set back
	cert.NotAfter = cert.NotBefore.Add(validFor)
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, key.Public(), caKey)
	if err != nil {
		return nil, err
	}
	return key, writePEM(p.Cert(name), "CERTIFICATE", der)
}

func (p PKI) newKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(p.Key(name), "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
