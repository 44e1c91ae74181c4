package consul

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
)

// checkTTL is when a check that nobody renews turns critical: several votes.
const checkTTL = 10 * time.Second

// checkState is a service's check as this process last reported it.
type checkState struct {
	registered bool
	failed     bool
}

// ServiceName is the Consul service that shows the health of a cluster; each
// observer is an instance of it.
func (s *Store) ServiceName(cluster string) string {
	return "catamaran-" + s.o.VirtualCluster + "-" + cluster
}

// publish shows a vote as a TTL check, for everybody else: nothing here reads it.
// So a failure is logged once, and the next vote tries again.
func (s *Store) publish(ctx context.Context, v failover.Vote) {
	id := s.ServiceName(v.Cluster) + "-" + v.Observer
	s.mu.Lock()
	st := s.checks[id]
	if st == nil {
		st = &checkState{}
		s.checks[id] = st
	}
	registered := st.registered
	s.mu.Unlock()

	err := s.pass(ctx, id, v, registered)
	var status api.StatusError
	if registered && errors.As(err, &status) && status.Code == 404 {
		registered = false // the Consul agent was replaced
		err = s.pass(ctx, id, v, registered)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && !st.failed {
		s.o.Logger.Warn("publish a cluster's health", "service", id, "error", err)
	}
	st.registered, st.failed = err == nil, err != nil
}

func (s *Store) pass(ctx context.Context, id string, v failover.Vote, registered bool) error {
	agent := s.client.Agent()
	if !registered {
		err := agent.ServiceRegisterOpts(&api.AgentServiceRegistration{
			ID: id, Name: s.ServiceName(v.Cluster),
			Meta: map[string]string{"observer": v.Observer, "cluster": v.Cluster, "virtual-cluster": s.o.VirtualCluster},
			Check: &api.AgentServiceCheck{
				CheckID: id, Name: "Kafka-level probe of " + v.Cluster + " by " + v.Observer,
				TTL: checkTTL.String(), DeregisterCriticalServiceAfter: "1h",
			},
		}, api.ServiceRegisterOpts{}.WithContext(ctx))
		if err != nil {
			return s.fail(ctx, "register service", id, err)
		}
	}
	status, output := api.HealthPassing, "answers"
	if !v.Healthy {
		status, output = api.HealthCritical, v.Reason
	}
	if err := agent.UpdateTTLOpts(id, output, status, (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		return s.fail(ctx, "update check", id, err)
	}
	return nil
}
