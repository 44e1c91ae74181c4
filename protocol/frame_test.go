package protocol

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestReadFrameNamesSizeAndLimit(t *testing.T) {
	_, err := ReadFrame(bytes.NewReader([]byte{0, 0, 4, 1, 1, 2, 3}), 1024)
	if err == nil || !strings.Contains(err.Error(), "1025") || !strings.Contains(err.Error(), "1024") {
		t.Fatalf("oversize: %v", err)
	}
	if _, err = ReadFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff}), 1024); err == nil {
		t.Fatal("a negative size was accepted")
	}
}

func TestReadFrameTellsAnEndBetweenFramesFromOneInside(t *testing.T) {
	if _, err := ReadFrame(strings.NewReader(""), 10); err != io.EOF {
		t.Fatalf("between frames: %v", err)
	}
	for _, cut := range []string{"\x00", "\x00\x00\x00\x05", "\x00\x00\x00\x05abcd"} {
		if _, err := ReadFrame(strings.NewReader(cut), 10); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("inside %q: %v", cut, err)
		}
	}
}

func TestReadFrameReadsExactlyOneFrameHoweverItArrives(t *testing.T) {
	for _, size := range []int{0, 1, frameFirstBuffer, frameFirstBuffer + 1, 5 * frameFirstBuffer} {
		body := bytes.Repeat([]byte{7}, size)
		stream := append(sealFrame(append([]byte{0, 0, 0, 0}, body...), 0), "next"...)
		r := bytes.NewReader(stream)
		got, err := ReadFrame(r, 100<<20)
		if err != nil || !bytes.Equal(got, body) || r.Len() != 4 {
			t.Fatalf("size %d: %v, %d bytes, %d left", size, err, len(got), r.Len())
		}
		if size > 10 {
			continue
		}
		if got, err = ReadFrame(iotest.OneByteReader(bytes.NewReader(stream)), 10); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("byte by byte: %v", err)
		}
	}
}

func TestFrameThatAnnouncesMuchAndSendsLittleTakesLittleMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = ReadFrame(strings.NewReader("\x06\x00\x00\x00abc"), 100<<20+1)
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	if allocated > 2<<20 {
		t.Fatalf("%d bytes were allocated for a frame of 3 bytes", allocated)
	}
}

// Every request and response of the table survives the wire in every version.
func TestMessagesOfTheTableRoundTrip(t *testing.T) {
	id := "client-7"
	for _, row := range Table() {
		for version := row.Min; version <= row.Max; version++ {
			req := kmsg.RequestForKey(row.Key)
			req.SetVersion(version)
			mark(reflect.ValueOf(req).Elem(), row.Name+"Request", 0, &downstream, req.IsFlexible())
			frame := AppendRequest([]byte("before"), 77, &id, req)[6:]
			h, body, err := ParseRequest(frame[4:])
			if err != nil || h.Key != row.Key || h.Version != version || h.CorrelationID != 77 || *h.ClientID != id {
				t.Fatalf("%s %d: %+v, %v", row.Name, version, h, err)
			}
			back, err := ParseBody(h, body)
			if err != nil {
				t.Fatal(err)
			}
			if again := AppendRequest(nil, 77, &id, back); !bytes.Equal(again, frame) {
				t.Fatalf("%s request %d changed on the way", row.Name, version)
			}
			resp := req.ResponseKind()
			mark(reflect.ValueOf(resp).Elem(), row.Name+"Response", 0, &upstream, resp.IsFlexible())
			frame = AppendResponse(nil, 78, resp)
			corr, answer, err := ParseResponse(frame[4:], req)
			if err != nil || corr != 78 {
				t.Fatalf("%s response %d: %d, %v", row.Name, version, corr, err)
			}
			if again := AppendResponse(nil, 78, answer); !bytes.Equal(again, frame) {
				t.Fatalf("%s response %d changed on the way", row.Name, version)
			}
		}
	}
}

func TestClientIDMayBeNull(t *testing.T) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version = 4
	h, _, err := ParseRequest(AppendRequest(nil, 1, nil, req)[4:])
	if err != nil || h.ClientID != nil {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestUnknownAPIIsAnErrorThatStillNamesTheRequest(t *testing.T) {
	h, _, err := ParseRequest([]byte{0x7f, 0, 0, 3, 0, 0, 0, 9, 0xff, 0xff})
	if err == nil || h.Key != 0x7f00 || h.Version != 3 || h.CorrelationID != 9 {
		t.Fatalf("%+v, %v", h, err)
	}
}

func TestOpaqueFramesKeepEverythingButTheCorrelationID(t *testing.T) {
	id := "c"
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version = 4
	frame := AppendRequest(nil, 1, &id, req)
	SetRequestCorrelationID(frame[4:], 2)
	if !bytes.Equal(frame, AppendRequest(nil, 2, &id, req)) {
		t.Fatal("request")
	}
	resp := req.ResponseKind()
	frame = AppendResponse(nil, 1, resp)
	SetResponseCorrelationID(frame[4:], 2)
	if !bytes.Equal(frame, AppendResponse(nil, 2, resp)) {
		t.Fatal("response")
	}
}

// seeds are small real frames of every API, for the fuzzers.
func seeds(f *testing.F) {
	for _, row := range Table() {
		req := kmsg.RequestForKey(row.Key)
		req.SetVersion(row.Max)
		mark(reflect.ValueOf(req).Elem(), row.Name+"Request", 0, &downstream, req.IsFlexible())
		f.Add(AppendRequest(nil, 1, nil, req)[4:], row.Key, row.Max)
		resp := req.ResponseKind()
		mark(reflect.ValueOf(resp).Elem(), row.Name+"Response", 0, &upstream, resp.IsFlexible())
		f.Add(AppendResponse(nil, 1, resp)[4:], row.Key, row.Max)
	}
}

// FuzzFrames: whatever arrives, nothing panics; what parses is written again in
// a form that parses to the same bytes; and translation does not panic either.
func FuzzFrames(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, frame []byte, key, version int16) {
		if h, body, err := ParseRequest(frame); err == nil {
			if req, err := ParseBody(h, body); err == nil {
				once := AppendRequest(nil, h.CorrelationID, h.ClientID, req)
				h2, body2, err := ParseRequest(once[4:])
				if err != nil {
					t.Fatalf("what was written does not parse: %v", err)
				}
				again, err := ParseBody(h2, body2)
				if err != nil {
					t.Fatalf("what was written does not parse: %v", err)
				}
				if !bytes.Equal(once, AppendRequest(nil, h2.CorrelationID, h2.ClientID, again)) {
					t.Fatal("writing is not stable")
				}
				exercise(req)
			}
		}
		row, ok := Lookup(key)
		if !ok || version < row.Min || version > row.Max {
			return
		}
		req := kmsg.RequestForKey(key)
		req.SetVersion(version)
		if _, resp, err := ParseResponse(bytes.Clone(frame), req); err == nil && row.Response != nil {
			if row.Response(markView(), req, resp) == nil {
				AppendResponse(nil, 1, resp)
			}
		}
	})
}

// exercise calls what a row has for a request from the wire.
func exercise(req kmsg.Request) {
	row, ok := Lookup(req.Key())
	if !ok || req.GetVersion() < row.Min || req.GetVersion() > row.Max {
		return
	}
	v := markView()
	if row.Split != nil {
		var parts []kmsg.Response
		for to, part := range row.Split(v, req, func(_ string, p int32) int32 { return p % 3 }) {
			if to >= 0 {
				parts = append(parts, row.Fail(part, 0))
			}
		}
		AppendResponse(nil, 1, row.Merge(v, req, parts, 3))
	}
	if row.PerGroup != nil {
		for _, part := range row.PerGroup(req) {
			row.Group(part)
		}
	}
	if row.Group != nil {
		row.Group(req)
	}
	if row.Answer != nil {
		AppendResponse(nil, 1, row.Answer(v, req))
	}
	AppendResponse(nil, 1, row.Fail(req, 3))
	if row.Request != nil {
		clone := Clone(req)
		if row.Request(v, clone) == nil {
			AppendRequest(nil, 1, nil, clone)
		}
	}
}
