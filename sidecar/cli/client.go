package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar"
)

// defaultAdmin is where a sidecar's admin API listens unless configured.
const defaultAdmin = "127.0.0.1:19099"

// admin asks a running sidecar.
type admin struct {
	address string
	http    http.Client
}

func adminFlag(c *cobra.Command, a *admin) {
	address := os.Getenv("CATAMARAN_ADMIN")
	if address == "" {
		address = defaultAdmin
	}
	c.Flags().StringVar(&a.address, "admin", address, "address of the sidecar's admin API (or set CATAMARAN_ADMIN)")
}

// maxAnswer bounds an answer of the admin API.
const maxAnswer = 64 << 20

// call sends a request and decodes its JSON answer. An answer that is not a
// success carries {"error": "…"} and comes back as that error, with into filled
// as far as it goes.
func (a *admin) call(ctx context.Context, method, path string, query url.Values, into any) error {
	u := url.URL{Scheme: "http", Host: a.address, Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return usageError{fmt.Errorf("--admin: %q is given, host:port is accepted", a.address)}
	}
	resp, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("no sidecar answers at %s (is it running, is --admin right?): %w", a.address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the sidecar's answer: %w", err)
	}
	jsonErr := json.Unmarshal(body, into)
	if resp.StatusCode >= 400 {
		var fault struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &fault) != nil || fault.Error == "" {
			fault.Error = strings.TrimSpace(string(body))
		}
		if resp.StatusCode == http.StatusBadRequest {
			return usageError{errors.New(fault.Error)}
		}
		return errors.New(fault.Error)
	}
	if jsonErr != nil {
		return fmt.Errorf("the answer of %s to %s is not a sidecar's: %w", a.address, path, jsonErr)
	}
	return nil
}

func (a *admin) status(ctx context.Context) (sidecar.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var s sidecar.Status
	return s, a.call(ctx, http.MethodGet, "/status", nil, &s)
}
