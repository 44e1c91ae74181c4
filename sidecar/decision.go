package sidecar

import (
	"fmt"

	"github.com/catamaran-io/catamaran/failover"
)

// decision says in a sentence what keeps the failover agent from its work, "" if
// nothing does.
func decision(a failover.Status) string {
	switch {
	case a.Fault != "":
		return "the stored route is not obeyed: " + a.Fault
	case !a.StoreFound && a.StoreError != "":
		return "coordination is lost, so nothing is decided: " + a.StoreError
	case a.Blocked != "":
		return "a failover is wanted and not done: " + a.Blocked
	case a.Driving && len(a.Missing) > 0:
		return fmt.Sprintf("waiting for sidecars to obey the fence: %v", a.Missing)
	case a.FollowError != "":
		return "the route is not followed yet: " + a.FollowError
	}
	return ""
}
