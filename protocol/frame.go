package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A frame on the wire (https://kafka.apache.org/protocol, "Network"):
//
//	size i32 | header | body          size counts header and body
//
//	request header v1   key i16 | version i16 | correlation id i32 | client id nullable string (i16 length)
//	request header v2   the same | tagged fields        (flexible versions, KIP-482)
//	response header v0  correlation id i32
//	response header v1  correlation id i32 | tagged fields (flexible versions, but never ApiVersions: KIP-511)
//
// In this package "frame" is what follows the size.
const (
	keyAPIVersions  = 18
	codeUnsupported = 35 // UNSUPPORTED_VERSION
	// frameFirstBuffer holds what clients ask for by default (1 MiB of records)
	// with what comes around it.
	frameFirstBuffer = 5 << 18
)

// RequestHeader is the header of a request, less its tagged fields: Kafka has
// defined none yet, and a broker ignores those that it does not know.
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	ClientID      *string
}

// ReadFrame reads one frame of at most max bytes. It returns io.EOF, bare, when
// the stream ends between frames, and io.ErrUnexpectedEOF (wrapped) inside one.
// Memory grows with what has arrived, not with what the size announces.
func ReadFrame(r io.Reader, max int32) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("reading a frame's size: %w", err)
		}
		return nil, err
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 0 || size > max {
		return nil, fmt.Errorf("frame of %d bytes, 0 to %d are accepted (is the peer speaking Kafka, and plaintext where plaintext is expected?)", size, max)
	}
	frame := make([]byte, 0, min(int(size), frameFirstBuffer))
	for len(frame) < int(size) {
		if len(frame) == cap(frame) {
			grown := make([]byte, len(frame), min(int(size), 4*cap(frame)))
			copy(grown, frame)
			frame = grown
		}
		n, err := io.ReadFull(r, frame[len(frame):cap(frame)])
		frame = frame[:len(frame)+n]
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading a frame: %d of %d bytes arrived: %w", len(frame), size, err)
		}
	}
	return frame, nil
}

// ParseRequest splits a request frame into header and body, which alias frame.
// An API that this package's library does not know is an error with the header
// set as far as it was read.
func ParseRequest(frame []byte) (h RequestHeader, body []byte, err error) {
	if len(frame) < 10 {
		return h, nil, fmt.Errorf("request of %d bytes, a header has at least 10", len(frame))
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	n, rest := int(int16(binary.BigEndian.Uint16(frame[8:]))), frame[10:]
	if n > len(rest) {
		return h, nil, fmt.Errorf("request header names a client id of %d bytes, %d follow", n, len(rest))
	}
	if n >= 0 {
		id := string(rest[:n])
		h.ClientID, rest = &id, rest[n:]
	}
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return h, nil, fmt.Errorf("request for API %d, which is not known", h.Key)
	}
	req.SetVersion(h.Version)
	if req.IsFlexible() {
		if rest, err = skipTags(rest); err != nil {
			return h, nil, fmt.Errorf("header of a %s request of version %d: %w", kmsg.NameForKey(h.Key), h.Version, err)
		}
	}
	return h, rest, nil
}

// ParseBody decodes a request's body. Strings and record bytes alias body, so
// body must stay unchanged as long as the request is in use.
func ParseBody(h RequestHeader, body []byte) (kmsg.Request, error) {
	req := kmsg.RequestForKey(h.Key)
	if req == nil {
		return nil, fmt.Errorf("request for API %d, which is not known", h.Key)
	}
	if h.Version < 0 || h.Version > req.MaxVersion() {
		return nil, fmt.Errorf("%s request of version %d, 0 to %d are known", kmsg.NameForKey(h.Key), h.Version, req.MaxVersion())
	}
	req.SetVersion(h.Version)
	if err := readFrom(req, body); err != nil {
		return nil, fmt.Errorf("%s request of version %d with %d bytes: %w", kmsg.NameForKey(h.Key), h.Version, len(body), err)
	}
	return req, nil
}

// SizeHint is about how many bytes the records of a message take: enough for a
// buffer that need not grow. 0: the message has none.
func SizeHint(msg any) (n int) {
	const around = 128 // a partition's other fields
	switch m := msg.(type) {
	case *kmsg.ProduceRequest:
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				n += len(m.Topics[i].Partitions[j].Records) + around
			}
		}
	case *kmsg.FetchResponse:
		for i := range m.Topics {
			for j := range m.Topics[i].Partitions {
				n += len(m.Topics[i].Partitions[j].RecordBatches) + around
			}
		}
	}
	return n
}

// AppendRequest appends a whole request, its size included.
func AppendRequest(dst []byte, correlationID int32, clientID *string, req kmsg.Request) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.Key()))
	dst = binary.BigEndian.AppendUint16(dst, uint16(req.GetVersion()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if clientID == nil {
		dst = append(dst, 0xff, 0xff)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(*clientID)))
		dst = append(dst, *clientID...)
	}
	if req.IsFlexible() {
		dst = append(dst, 0)
	}
	return sealFrame(req.AppendTo(dst), start)
}

// AppendResponse appends a whole response, its size included.
func AppendResponse(dst []byte, correlationID int32, resp kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if flexibleResponse(resp) {
		dst = append(dst, 0)
	}
	return sealFrame(resp.AppendTo(dst), start)
}

// ParseResponse decodes the answer to req. Strings and record bytes alias frame.
// correlationID is valid also with an error, unless the frame is shorter.
func ParseResponse(frame []byte, req kmsg.Request) (correlationID int32, resp kmsg.Response, err error) {
	name, version := kmsg.NameForKey(req.Key()), req.GetVersion()
	if len(frame) < 4 {
		return 0, nil, fmt.Errorf("answer of %d bytes to a %s request, a header has at least 4", len(frame), name)
	}
	correlationID = int32(binary.BigEndian.Uint32(frame))
	body := frame[4:]
	resp = req.ResponseKind()
	resp.SetVersion(version)
	if flexibleResponse(resp) {
		if body, err = skipTags(body); err != nil {
			return correlationID, nil, fmt.Errorf("header of the answer to a %s request of version %d: %w", name, version, err)
		}
	}
	if req.Key() == keyAPIVersions && len(body) >= 2 && binary.BigEndian.Uint16(body) == codeUnsupported {
		// A broker that does not know the version answers in version 0, the
		// only one that every client can read (KIP-511).
		resp.SetVersion(0)
	}
	if err := readFrom(resp, body); err != nil {
		return correlationID, nil, fmt.Errorf("answer to a %s request of version %d with %d bytes: %w", name, version, len(body), err)
	}
	return correlationID, resp, nil
}

// SetRequestCorrelationID edits a request frame in place, so that it can be
// forwarded without being decoded.
func SetRequestCorrelationID(frame []byte, id int32) {
	binary.BigEndian.PutUint32(frame[4:8], uint32(id))
}

// SetResponseCorrelationID edits a response frame in place.
func SetResponseCorrelationID(frame []byte, id int32) {
	binary.BigEndian.PutUint32(frame[:4], uint32(id))
}

func flexibleResponse(resp kmsg.Response) bool {
	return resp.IsFlexible() && resp.Key() != keyAPIVersions
}

func readFrom(msg interface{ ReadFrom([]byte) error }, body []byte) error {
	if m, ok := msg.(kmsg.UnsafeReadFrom); ok {
		return m.UnsafeReadFrom(body)
	}
	return msg.ReadFrom(body)
}

func sealFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// skipTags steps over tagged fields: uvarint count, then uvarint tag, uvarint
// size and size bytes each.
func skipTags(b []byte) ([]byte, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, errors.New("the count of tagged fields is cut short")
	}
	for b = b[n:]; count > 0; count-- {
		_, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("a tag is cut short")
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, errors.New("a tagged field is cut short")
		}
		b = b[n+int(size):]
	}
	return b, nil
}
