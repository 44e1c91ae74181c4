package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/catamaran-io/catamaran/protocol"
)

// dial connects to a broker the way this cluster's kgo client does: its TLS
// configuration and SASL mechanisms are read from the client's options, so that
// they are configured once.
func (c *cluster) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.network.Dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if c.tls != nil {
		if conn, err = c.secure(ctx, conn, addr); err != nil {
			return nil, err
		}
	}
	if len(c.sasl) > 0 {
		if err := authenticate(ctx, conn, addr, c.sasl[0]); err != nil {
			conn.Close()
			return nil, fmt.Errorf("SASL with %s: %w", addr, err)
		}
	}
	if !stop() {
		conn.Close()
		return nil, context.Cause(ctx)
	}
	return conn, nil
}

// credentials reads what sessions' own connections need from a kgo client.
func credentials(cl *kgo.Client) (*tls.Config, []sasl.Mechanism) {
	cfg, _ := cl.OptValue(kgo.DialTLSConfig).(*tls.Config)
	mechanisms, _ := cl.OptValue(kgo.SASL).([]sasl.Mechanism)
	return cfg, mechanisms
}

// authenticate runs one SASL exchange in Kafka frames (KIP-152: SaslHandshake
// version 1, then SaslAuthenticate). Re-authentication (KIP-368) is left to the
// broker closing the connection when the session's lifetime is over: requests
// that were out are repeated on a new one.
func authenticate(ctx context.Context, conn net.Conn, addr string, m sasl.Mechanism) error {
	r := bufio.NewReader(conn)
	id := int32(0)
	ask := func(req kmsg.Request) (kmsg.Response, error) {
		id--
		if _, err := conn.Write(protocol.AppendRequest(nil, id, nil, req)); err != nil {
			return nil, err
		}
		frame, err := protocol.ReadFrame(r, 1<<20)
		if err != nil {
			return nil, err
		}
		_, resp, err := protocol.ParseResponse(frame, req)
		return resp, err
	}
	hello := kmsg.NewPtrSASLHandshakeRequest()
	hello.Version, hello.Mechanism = 1, m.Name()
	resp, err := ask(hello)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.(*kmsg.SASLHandshakeResponse).ErrorCode); err != nil {
		return fmt.Errorf("mechanism %s: %w", m.Name(), err)
	}
	session, message, err := m.Authenticate(ctx, addr)
	if err != nil {
		return err
	}
	for round := 0; ; round++ {
		if round > 20 {
			return errors.New("the exchange does not come to an end")
		}
		auth := kmsg.NewPtrSASLAuthenticateRequest()
		auth.Version, auth.SASLAuthBytes = 1, message
		resp, err := ask(auth)
		if err != nil {
			return err
		}
		answer := resp.(*kmsg.SASLAuthenticateResponse)
		if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
			if answer.ErrorMessage != nil {
				return fmt.Errorf("%w: %s", err, *answer.ErrorMessage)
			}
			return err
		}
		done, next, err := session.Challenge(answer.SASLAuthBytes)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		message = next
	}
}
