package protocol

import (
	"hash/fnv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator (API 10) tells a client which node coordinates a group or a
// transactional id.
//
// Versions: 0 to 6 (4+ ask for several keys, 6 knows share groups).
//
// It is answered here: every virtual node reaches every coordinator, so the
// answer depends on the key and the virtual nodes alone and survives a cutover.
// The node is chosen by rendezvous hashing, so that a node that joins the set
// takes over some keys and moves no other. Share groups (key type 2) are not
// served: INVALID_REQUEST, as from a broker that does not know the type.
var findCoordinator = Row{
	Key: 10, Name: "FindCoordinator", Min: 0, Max: 6, AdvertisedMin: 0,
	Destination: Here,
	Answer:      findCoordinatorAnswer, Fail: findCoordinatorFail,
}

const (
	coordinatorGroup       int8  = 0
	coordinatorTransaction int8  = 1
	codeCoordinatorMissing int16 = 15 // COORDINATOR_NOT_AVAILABLE
)

func findCoordinatorAnswer(v *View, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.FindCoordinatorRequest)
	if req.CoordinatorType != coordinatorGroup && req.CoordinatorType != coordinatorTransaction {
		return findCoordinatorFail(r, codeInvalidRequest)
	}
	if len(v.Nodes) == 0 {
		return findCoordinatorFail(r, codeCoordinatorMissing)
	}
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if req.Version < 4 {
		n := coordinatorNode(v.Nodes, req.CoordinatorKey)
		resp.NodeID, resp.Host, resp.Port = n.ID, n.Host, n.Port
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		n := coordinatorNode(v.Nodes, key)
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Host, c.Port = key, n.ID, n.Host, n.Port
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}

// coordinatorNode is the node whose hash with key is the highest.
func coordinatorNode(nodes []Node, key string) (best Node) {
	var highest uint64
	for i, n := range nodes {
		h := fnv.New64a()
		h.Write([]byte(key))
		h.Write([]byte{byte(n.ID >> 24), byte(n.ID >> 16), byte(n.ID >> 8), byte(n.ID)})
		// FNV's last input byte hardly reaches the high bits; mix (splitmix64).
		x := h.Sum64()
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		if x ^= x >> 31; i == 0 || x > highest {
			best, highest = n, x
		}
	}
	return best
}

func findCoordinatorFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if req.Version < 4 {
		resp.ErrorCode, resp.NodeID, resp.Port = code, -1, -1
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.ErrorCode, c.NodeID, c.Port = key, code, -1, -1
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
