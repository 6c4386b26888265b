package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Kind says what an endpoint is made of.
type Kind string

// The kinds of endpoint. All but TCP are also the word that begins the endpoint's text.
const (
	TCP       Kind = "tcp"
	Unix      Kind = "unix"
	Systemd   Kind = "systemd"
	StdioKind Kind = "stdio"
	Exec      Kind = "exec"
)

// Sizes of names in octets: of hosts and their labels (RFC 1035 2.3.4), and of sockets that systemd hands over.
const (
	maxHost       = 253
	maxLabel      = 63
	maxSocketName = 255
)

// prefixed are the kinds whose text begins with their name and a colon.
var prefixed = []Kind{Unix, Systemd, StdioKind, Exec}

// ErrEndpoint is wrapped by every error about an endpoint that cannot be read or cannot be used as asked.
var ErrEndpoint = errors.New("not a usable endpoint")

// Endpoint is a place to listen on or to dial. Only the fields of its Kind count.
type Endpoint struct {
	Kind Kind
	Host string      // TCP: host name in lower case or IP address without brackets; "" is every address
	Port uint16      // TCP: 0 lets a listener take any free port
	Path string      // Unix: path of the socket; on Linux "@name" is a name outside of the file system
	Mode fs.FileMode // Unix: permission bits of a listener's socket; 0 leaves what the umask gives
	Name string      // Systemd: FileDescriptorName= of the sockets; "" is all of them
	Args []string    // Exec: the program and its arguments
}

// ParseEndpoint reads the text of an endpoint, as the package's doc lists them. Errors wrap ErrEndpoint.
func ParseEndpoint(s string) (Endpoint, error) {
	e, err := parseEndpoint(s)
	if err == nil {
		err = e.check()
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("%w: %q: %w", ErrEndpoint, s, err)
	}
	return e, nil
}

func parseEndpoint(s string) (Endpoint, error) {
	for _, kind := range prefixed {
		rest, ok := strings.CutPrefix(s, string(kind)+":")
		if !ok {
			continue
		}
		switch kind {
		case Unix:
			return parseUnix(rest)
		case Systemd:
			return Endpoint{Kind: Systemd, Name: rest}, nil
		case Exec:
			args, err := splitArgs(rest)
			return Endpoint{Kind: Exec, Args: args}, err
		}
		if rest != "" {
			return Endpoint{}, errors.New(`nothing may follow "stdio:"`)
		}
		return Endpoint{Kind: StdioKind}, nil
	}
	return parseTCP(s)
}

func parseTCP(s string) (Endpoint, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return Endpoint{}, errors.New(`it has no port; write host:port, such as "127.0.0.1:2525"`)
	}
	host, digits := s[:i], s[i+1:]
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || strconv.FormatUint(port, 10) != digits {
		return Endpoint{}, fmt.Errorf("the port %q is not a number from 0 to 65535", digits)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !ok || err != nil || !addr.Is6() {
			return Endpoint{}, fmt.Errorf("%q is not an IPv6 address in brackets", host)
		}
		return Endpoint{Kind: TCP, Host: addr.String(), Port: uint16(port)}, nil
	}
	if strings.Contains(host, ":") {
		return Endpoint{}, fmt.Errorf("an IPv6 address is written in brackets: [%s]:%s", host, digits)
	}
	return Endpoint{Kind: TCP, Host: lowerASCII(host), Port: uint16(port)}, nil
}

func parseUnix(s string) (Endpoint, error) {
	e := Endpoint{Kind: Unix}
	path, query, options := strings.Cut(s, "?")
	var err error
	if e.Path, err = unescapePath(path); err != nil || !options {
		return e, err
	}
	value, ok := strings.CutPrefix(query, "mode=")
	if !ok {
		return e, fmt.Errorf(`the only option of a Unix socket is "mode", as in "?mode=0660"; `+
			`a "?" in the path itself is written %%3F; got %q`, query)
	}
	mode, err := strconv.ParseUint(value, 8, 16)
	if err != nil || len(value) > 4 || mode == 0 || mode > 0o777 {
		return e, fmt.Errorf("the mode %q is not an octal number from 0001 to 0777", value)
	}
	e.Mode = fs.FileMode(mode)
	return e, nil
}

// unescapePath turns each %XX into its octet.
func unescapePath(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New(`a "%" in the path is written %25`)
		}
		octet, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", errors.New(`a "%" in the path is written %25`)
		}
		b.WriteByte(byte(octet))
		i += 2
	}
	return b.String(), nil
}

func escapePath(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '%' || c == '?' || c < ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// String gives the text that ParseEndpoint reads as the same endpoint.
func (e Endpoint) String() string {
	switch e.Kind {
	case TCP:
		return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
	case Unix:
		s := "unix:" + escapePath(e.Path)
		if e.Mode != 0 {
			s += fmt.Sprintf("?mode=%04o", uint32(e.Mode))
		}
		return s
	case Systemd:
		return "systemd:" + e.Name
	case StdioKind:
		return "stdio:"
	case Exec:
		return "exec:" + joinArgs(e.Args)
	}
	return ""
}

// Network is the endpoint's kind; with String it makes an Endpoint a net.Addr.
func (e Endpoint) Network() string { return string(e.Kind) }

// MarshalText gives the text of String, or an error that wraps ErrEndpoint where the fields make no endpoint.
func (e Endpoint) MarshalText() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrEndpoint, e.String(), err)
	}
	return []byte(e.String()), nil
}

// UnmarshalText is ParseEndpoint for decoders of configuration files.
func (e *Endpoint) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEndpoint(string(text))
	return err
}

// CanListen gives nil where Listen takes this endpoint, else the reason, which wraps ErrEndpoint.
func (e Endpoint) CanListen() error {
	err := e.check()
	if err == nil && e.Kind == Exec {
		err = errors.New("a program can be dialed but not listened on")
	}
	return e.unusable("listen on", err)
}

// CanDial gives nil where Dial takes this endpoint, else the reason, which wraps ErrEndpoint.
func (e Endpoint) CanDial() error {
	err := e.check()
	switch {
	case err != nil:
	case e.Kind == Systemd, e.Kind == StdioKind:
		err = fmt.Errorf("%s: can be listened on but not dialed", e.Kind)
	case e.Kind == TCP && e.Host == "":
		err = errors.New("to dial it needs a host")
	case e.Kind == TCP && e.Port == 0:
		err = errors.New("to dial it needs a port other than 0")
	case e.Kind == Unix && e.Mode != 0:
		err = errors.New("a mode is for the listener's side only")
	}
	return e.unusable("dial", err)
}

func (e Endpoint) unusable(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("transport: cannot %s %q: %w: %w", verb, e.String(), ErrEndpoint, err)
}

// check says what is wrong with the fields of e's kind.
func (e Endpoint) check() error {
	switch e.Kind {
	case TCP:
		return checkHost(e.Host)
	case Unix:
		switch {
		case e.Path == "":
			return errors.New(`a Unix socket needs a path, such as "unix:/run/holub/smtp.sock"`)
		case strings.ContainsFunc(e.Path, isControl):
			return errors.New("a path may have no control characters")
		case e.Mode&^0o777 != 0:
			return fmt.Errorf("the mode %o has more than permission bits", uint32(e.Mode))
		case e.abstract() && (e.Path == "@" || e.Mode != 0):
			return errors.New(`a name that starts with "@" has no mode and may not be empty; a file is "./@name"`)
		}
		return nil
	case Systemd: // systemd.socket(5), FileDescriptorName=
		if len(e.Name) > maxSocketName || strings.ContainsFunc(e.Name, func(r rune) bool {
			return r <= ' ' || r >= 0x7f || r == ':'
		}) {
			return errors.New("the name of a socket of systemd is at most 255 ASCII characters, no colon, no space")
		}
		return nil
	case StdioKind:
		return nil
	case Exec:
		return checkArgs(e.Args)
	}
	return fmt.Errorf("there is no kind of endpoint called %q", e.Kind)
}

// abstract tells a Unix socket that has no file.
func (e Endpoint) abstract() bool { return strings.HasPrefix(e.Path, "@") }

// lowerASCII leaves all but A to Z alone; strings.ToLower would make the letters k and i of others than K and I.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkHost takes "", an IP address as netip writes it, or a host name in lower-case ASCII.
func checkHost(host string) error {
	if host == "" {
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.String() != host || strings.ContainsFunc(addr.Zone(), needsQuotes) {
			return fmt.Errorf("the address %q is not in its shortest form: %s", host, addr)
		}
		return nil
	}
	if slices.Contains(prefixed, Kind(host)) {
		return fmt.Errorf(`a host called %q is written with a dot at its end: "%s."`, host, host)
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > maxHost {
		return fmt.Errorf("the host name has %d octets, at most %d", len(name), maxHost)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isNameRune(r) }) {
			return fmt.Errorf("%q is neither an IP address nor a host name in ASCII (a name such as "+
				"müller.example is written xn--mller-kva.example)", host)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q looks like an IPv4 address but is none", host)
	}
	return nil
}

func isNameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || r == '_'
}
