// Package certtest makes certificates for tests: self-signed ones that no file and no other machine knows. Only tests
// call it.
//
//	cert := certtest.New(t, "mx.example.org", "127.0.0.1")
//	server := cert.Server()   // shows it
//	client := cert.Client()   // trusts it, and nothing else
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificate is a certificate with its key.
type Certificate struct {
	TLS   tls.Certificate
	Roots *x509.CertPool // that trust it
	name  string
}

// New makes a certificate for host names and IP addresses; the first is the one that Client asks for.
func New(t testing.TB, hosts ...string) *Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &Certificate{TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, Roots: x509.NewCertPool(), name: hosts[0]}
	c.Roots.AddCert(leaf)
	return c
}

// Server is the configuration of a server that shows the certificate.
func (c *Certificate) Server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.TLS}}
}

// Client is the configuration of a client that trusts it.
func (c *Certificate) Client() *tls.Config { return &tls.Config{RootCAs: c.Roots, ServerName: c.name} }

// Write writes the certificate and its key into a folder, as cert.pem and key.pem, and gives their paths.
func (c *Certificate) Write(t testing.TB, dir string) (cert, key string) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: c.TLS.Certificate[0]},
		key:  {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
