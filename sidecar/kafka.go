package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// minFailAfter is the shortest time after which a cluster may count as failed:
// a garbage collection of a broker takes about as long.
const minFailAfter = 200 * time.Millisecond

var mechanisms = []string{"plain", "scram-sha-256", "scram-sha-512"}

// options are the client options for a cluster's credentials, for clients that
// bring no dialer.
func (c *Cluster) options() ([]kgo.Opt, error) {
	opts := c.credentials()
	if c.TLS == nil {
		return opts, nil
	}
	conf, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return append(opts, kgo.DialTLSConfig(conf)), nil
}

func (c *Cluster) credentials() []kgo.Opt {
	if c.SASL == nil {
		return nil
	}
	auth := scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}
	switch c.SASL.Mechanism {
	case "plain":
		return []kgo.Opt{kgo.SASL(plain.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsMechanism())}
	case "scram-sha-256":
		return []kgo.Opt{kgo.SASL(auth.AsSha256Mechanism())}
	default: // validated
		return []kgo.Opt{kgo.SASL(auth.AsSha512Mechanism())}
	}
}

// dialer is dial (nil: the real network) with the cluster's TLS.
func (c *Cluster) dialer(dial dialFunc) (dialFunc, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if c.TLS == nil {
		return dial, nil
	}
	conf, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return secure(dial, conf), nil
}

func (t *TLS) config() (*tls.Config, error) {
	conf := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authorities: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		conf.RootCAs.AppendCertsFromPEM(pem)
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// dialFunc opens connections, as net.Dialer.DialContext.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// client is a client for single requests: it does not retry, so that a failure
// is told at once.
func (c *Cluster) client(dial dialFunc, id string) (*kgo.Client, error) {
	dial, err := c.dialer(dial)
	if err != nil {
		return nil, err
	}
	return kgo.NewClient(append(c.credentials(), kgo.SeedBrokers(c.Bootstrap...), kgo.ClientID(id), kgo.Dialer(dial),
		kgo.RequestRetries(0), kgo.DisableClientMetrics(),
		// A broker that takes connections and answers nothing (SIGSTOP) would hold a
		// request in kgo for the default of 10 s, whatever the request's context says.
		kgo.RequestTimeoutOverhead(2*time.Second))...)
}

// secure puts TLS on every connection of dial.
func secure(dial dialFunc, conf *tls.Config) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := conf.Clone()
		if host, _, err := net.SplitHostPort(address); err == nil && c.ServerName == "" {
			c.ServerName = host
		}
		conn := tls.Client(raw, c)
		if err := conn.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, fmt.Errorf("TLS handshake with %s: %w", address, err)
		}
		return conn, nil
	}
}
