package sasl

import (
	"crypto"
	_ "crypto/sha256" // hashes of certificates
	_ "crypto/sha512" // hashes of certificates
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// The types of channel binding that this package makes.
const (
	BindingExporter = "tls-exporter"         // RFC 9266
	BindingEndPoint = "tls-server-end-point" // RFC 5929 4
)

// Channel says what the exchange runs over. The zero value is a connection that anybody may read.
type Channel struct {
	// Private: nobody between the two can read along: TLS, or a socket within one machine. Elsewhere the mechanisms
	// that show a password or token are not offered and not chosen.
	Private bool
	// Bindings are the names of the channel that SCRAM-SHA-256-PLUS may bind to, the preferred one first. A server
	// with bindings offers PLUS and takes "you don't offer PLUS" for an attack, so one that hides PLUS must leave
	// them empty.
	Bindings []ChannelBinding
}

// ChannelBinding is a value that both ends of a channel know and that no other channel has.
type ChannelBinding struct {
	Type string // BindingExporter or BindingEndPoint
	Data []byte
}

// ClientChannel describes a finished TLS connection for the side that dialled.
func ClientChannel(state tls.ConnectionState) Channel {
	if len(state.PeerCertificates) == 0 { // a resumed session of an old kind
		return tlsChannel(state, nil)
	}
	return tlsChannel(state, state.PeerCertificates[0])
}

// ServerChannel describes a finished TLS connection for the side that listened. Certificate is the leaf it showed to
// this client, which crypto/tls does not tell afterwards; nil leaves tls-server-end-point out.
func ServerChannel(state tls.ConnectionState, certificate *x509.Certificate) Channel {
	return tlsChannel(state, certificate)
}

// tlsChannel puts the bindings that can be had in order.
func tlsChannel(state tls.ConnectionState, leaf *x509.Certificate) Channel {
	ch := Channel{Private: state.HandshakeComplete}
	if !state.HandshakeComplete {
		return ch
	}
	if leaf != nil {
		if b, err := EndPointBinding(leaf); err == nil {
			ch.Bindings = append(ch.Bindings, b)
		}
	}
	b, err := ExporterBinding(state)
	switch {
	case err != nil:
	case state.Version >= tls.VersionTLS13: // the default there, RFC 9266 3
		ch.Bindings = append([]ChannelBinding{b}, ch.Bindings...)
	default: // with TLS 1.2 few know it, and whether its context is empty or absent is told differently
		ch.Bindings = append(ch.Bindings, b)
	}
	return ch
}

// ExporterBinding makes a tls-exporter binding (RFC 9266 2). It fails where TLS 1.2 runs without the extended master
// secret: such a connection has no unique name (RFC 9266 4).
func ExporterBinding(state tls.ConnectionState) (ChannelBinding, error) {
	data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return ChannelBinding{}, fmt.Errorf("making a %s binding: %w", BindingExporter, err)
	}
	return ChannelBinding{BindingExporter, data}, nil
}

// EndPointBinding makes a tls-server-end-point binding from the leaf certificate of the server. It fails where the
// certificate is signed without one single hash, as with Ed25519: RFC 5929 4.1 leaves that undefined.
func EndPointBinding(certificate *x509.Certificate) (ChannelBinding, error) {
	hash, ok := endPointHash[certificate.SignatureAlgorithm]
	if !ok {
		return ChannelBinding{}, fmt.Errorf("making a %s binding: not defined for certificates signed with %v",
			BindingEndPoint, certificate.SignatureAlgorithm)
	}
	h := hash.New()
	h.Write(certificate.Raw)
	return ChannelBinding{BindingEndPoint, h.Sum(nil)}, nil
}

// endPointHash is the hash of a certificate by its signature: the same one, but never MD5 or SHA-1 (RFC 5929 4.1).
var endPointHash = map[x509.SignatureAlgorithm]crypto.Hash{
	x509.MD5WithRSA:       crypto.SHA256,
	x509.SHA1WithRSA:      crypto.SHA256,
	x509.DSAWithSHA1:      crypto.SHA256,
	x509.ECDSAWithSHA1:    crypto.SHA256,
	x509.SHA256WithRSA:    crypto.SHA256,
	x509.DSAWithSHA256:    crypto.SHA256,
	x509.ECDSAWithSHA256:  crypto.SHA256,
	x509.SHA256WithRSAPSS: crypto.SHA256,
	x509.SHA384WithRSA:    crypto.SHA384,
	x509.ECDSAWithSHA384:  crypto.SHA384,
	x509.SHA384WithRSAPSS: crypto.SHA384,
	x509.SHA512WithRSA:    crypto.SHA512,
	x509.ECDSAWithSHA512:  crypto.SHA512,
	x509.SHA512WithRSAPSS: crypto.SHA512,
}
