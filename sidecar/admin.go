package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/catamaran-io/catamaran/failover"
)

// Handler is the admin API:
//
//	GET  /healthz     200: the process lives
//	GET  /readyz      200: requests flow to the active cluster; 503 says why not
//	GET  /status      Status as JSON
//	GET  /reports     the last cutovers as JSON, oldest first
//	GET  /metrics     Prometheus
//	POST /switchover  ?to=&reason= waits for the end and answers the Report; 409
//	POST /failover    and {"error"} when it was refused or taken back
//	POST /abort       ?reason= takes the running cutover back
//	POST /resume      ?reason= lets clients use the active cluster of a halted route
//	POST /forget      ?sidecar= removes the registration of one that is gone for good
func (s *Sidecar) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if st := s.Status(); !st.Serving {
			http.Error(w, st.NotServing, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Status()) })
	mux.HandleFunc("GET /reports", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Reports()) })
	mux.HandleFunc("POST /switchover", s.move(s.Switchover))
	mux.HandleFunc("POST /failover", s.move(s.Failover))
	mux.HandleFunc("POST /abort", order("reason", "a few words for the report are needed", s.agent.Abort))
	mux.HandleFunc("POST /resume", order("reason", "a few words for the report are needed", s.agent.Resume))
	mux.HandleFunc("POST /forget", order("sidecar", "the id of a registered sidecar is needed", s.agent.Forget))
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{s})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// move is the handler of a command that waits for its outcome. The command goes
// on when the caller goes away.
func (s *Sidecar) move(order func(ctx context.Context, to, reason string) (failover.Report, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to, reason := r.FormValue("to"), r.FormValue("reason")
		if _, ok := s.cfg.Clusters[to]; !ok {
			fail(w, http.StatusBadRequest, fmt.Errorf("to: %q is given, the name of a cluster is accepted (%s or %s)", to, s.cfg.Active, s.cfg.Standby(s.cfg.Active)))
			return
		}
		if reason == "" {
			fail(w, http.StatusBadRequest, errors.New("reason: it is missing, a few words for the report are needed"))
			return
		}
		report, err := order(r.Context(), to, reason)
		if err != nil {
			fail(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, newReport(report))
	}
}

// order is the handler of a command with one word and no report.
func order(field, needed string, do func(ctx context.Context, word string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		word := r.FormValue(field)
		if word == "" {
			fail(w, http.StatusBadRequest, fmt.Errorf("%s: it is missing, %s", field, needed))
			return
		}
		if err := do(r.Context(), word); err != nil {
			fail(w, http.StatusConflict, err)
			return
		}
		answer(w, http.StatusOK, map[string]bool{"done": true})
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The caller may be gone: nothing is to be done about it.
	_ = json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, code int, err error) {
	answer(w, code, map[string]string{"error": err.Error()})
}

// listenAdmin takes the admin port, before anything else runs.
func (s *Sidecar) listenAdmin() (net.Listener, error) {
	listen := s.opts.Listen
	if listen == nil {
		listen = net.Listen
	}
	l, err := listen("tcp", s.cfg.Admin.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %q cannot be listened on (%w), a free port of this host is needed", s.cfg.Admin.Listen, err)
	}
	return l, nil
}

// serveHTTP serves until ctx ends. Running requests get a second to finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	<-done
	return nil
}
