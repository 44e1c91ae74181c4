package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// ApiVersions (API 18) tells a client which APIs and versions it may use. A
// client asks once per connection, and connections survive a cutover: so the
// answer is what the table and every cluster of the virtual cluster know.
//
// Versions: 0 to 4. Version 5 (KIP-1242) carries the cluster and node id that
// the client expects and lets a broker answer REBOOTSTRAP_REQUIRED; it is
// answered UNSUPPORTED_VERSION in the format of version 0, which every client
// that sends it understands.
//
// It is answered here and never forwarded. Features: none are finalized (with
// transaction.version hidden, clients use the first transaction protocol).
var apiVersions = Row{
	Key: keyAPIVersions, Name: "ApiVersions", Min: 0, Max: apiVersionsMax, AdvertisedMin: 0,
	Destination: Here,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := kmsg.NewPtrApiVersionsResponse()
		if resp.Version = r.GetVersion(); resp.Version > apiVersionsMax {
			resp.Version = 0
		}
		resp.ErrorCode = code
		return resp
	},
}

const apiVersionsMax = 4

// VersionRange is the versions of one API that a cluster serves.
type VersionRange struct{ Min, Max int16 }

// VersionRanges are those of an ApiVersions answer of a cluster.
func VersionRanges(resp *kmsg.ApiVersionsResponse) map[int16]VersionRange {
	m := make(map[int16]VersionRange, len(resp.ApiKeys))
	for _, k := range resp.ApiKeys {
		m[k.ApiKey] = VersionRange{k.MinVersion, k.MaxVersion}
	}
	return m
}

// ApiVersionsResponse is the answer to an ApiVersions request of version: the
// table cut down to what every one of clusters serves. APIs that are answered
// here are advertised whatever the clusters say. With a version that is not
// served it is UNSUPPORTED_VERSION in version 0 format.
func ApiVersionsResponse(version int16, clusters ...map[int16]VersionRange) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	if version < 0 || version > apiVersionsMax {
		resp.ErrorCode = codeUnsupported
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{apiKey(keyAPIVersions, 0, apiVersionsMax)}
		return resp
	}
	resp.Version = version
	for _, row := range rows {
		if min, max, ok := row.Served(clusters...); ok {
			if row.AdvertisedMin < row.Min && min == row.Min {
				min = row.AdvertisedMin
			}
			resp.ApiKeys = append(resp.ApiKeys, apiKey(row.Key, min, max))
		}
	}
	return resp
}

// Served is the range of versions that the table and every one of clusters
// serve, and whether there is any.
func (row *Row) Served(clusters ...map[int16]VersionRange) (lowest, highest int16, ok bool) {
	lowest, highest = row.Min, row.Max
	if row.Destination == Here {
		return lowest, highest, true
	}
	for _, c := range clusters {
		r, known := c[row.Key]
		if !known {
			return 0, 0, false
		}
		lowest, highest = max(lowest, r.Min), min(highest, r.Max)
	}
	return lowest, highest, lowest <= highest
}

func apiKey(key, lowest, highest int16) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = key, lowest, highest
	return k
}
