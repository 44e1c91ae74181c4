// Package protocol is what Catamaran knows of the Kafka protocol: frames, the
// API table with one numbered file per API, the record-batch view, and the
// identities that are translated between a client and a cluster.
//
// It is pure: no network, no time, no goroutines, no logging. Everything from
// the wire that does not parse is an error, never a panic.
//
// A request is served like this:
//
//	frame  := ReadFrame              keep it: a replay parses it again
//	h, body := ParseRequest(frame)   no body is decoded yet
//	row    := Lookup(h.Key)          no row, or a version outside it: close the session
//	req    := ParseBody(h, body)     aliases the frame
//	Here:    row.Answer, ApiVersionsResponse or EpochEnds
//	Leaders: parts := row.Split; each part on its own as below; row.Merge
//	sent   := Clone(req); row.Request(view, sent)      *RefusedError: row.Fail
//	AppendRequest(sent) … ParseResponse(answer, sent)
//	row.Response(view, req, resp)    the same view, and req untranslated
//	AppendResponse(resp)
//
// Two tests keep identities from leaking when the library learns new fields:
// every field whose name or type suggests one needs a rule (rules_test.go), and
// messages filled with marks by those rules must come out without them
// (marks_test.go).
package protocol
