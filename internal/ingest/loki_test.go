package ingest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/orielhq/oriel/internal/telemetry"
)

func pushLoki(t *testing.T, w *recorder, contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	s := newServer(t, w)
	r := httptest.NewRequest(http.MethodPost, "/loki/api/v1/push", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res := httptest.NewRecorder()
	s.LokiPush(res, r)
	if s.inFlight.Load() != 0 {
		t.Errorf("%d bytes still held", s.inFlight.Load())
	}
	return res
}

func protoMessage(fields ...any) []byte {
	var b []byte
	for i := 0; i+1 < len(fields); i += 2 {
		num := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int64:
			b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
		}
	}
	return b
}

func TestLokiPush(t *testing.T) {
	resource := []telemetry.Field{
		{Name: "service.name", Value: "shop"},
		{Name: "k8s.namespace.name", Value: "eu"},
		{Name: "job", Value: "eu/shop"},
		{Name: "namespace", Value: "eu"},
		{Name: "service_name", Value: "shop"},
	}
	want := []telemetry.LogRecord{{
		Time: testNow, Resource: resource, Severity: telemetry.SeverityWarn, Message: "late", TraceID: "0af7",
		Attributes: []telemetry.Field{{Name: "attr:namespace", Value: "us"}, {Name: "attr:service.name", Value: "forged"}, {Name: "user", Value: "ada"}},
	}}
	json := fmt.Sprintf(`{"streams":[{"stream":{"job":"eu/shop","namespace":"eu","service_name":"shop","level":"warning"},
		"values":[["%d","late",{"trace_id":"0af7","user":"ada","service.name":"forged","namespace":"us"}]]}]}`, testNow.UnixNano())
	meta := func(k, v string) []byte { return protoMessage(1, k, 2, v) }
	proto := protoMessage(1, protoMessage(
		1, `{job="eu/shop", namespace="eu", service_name="shop", level="warning"}`,
		2, protoMessage(1, protoMessage(1, testNow.Unix(), 2, int64(testNow.Nanosecond())), 2, "late",
			3, meta("trace_id", "0af7"), 3, meta("user", "ada"), 3, meta("service.name", "forged"), 3, meta("namespace", "us")),
	))
	for _, tt := range []struct {
		contentType, encoding string
		body                  []byte
	}{
		{typeJSON, "", []byte(json)}, {typeJSON, "gzip", compress(t, "gzip", []byte(json))}, {typeProtobuf, "", snappy.Encode(nil, proto)},
	} {
		w := &recorder{}
		if res := pushLoki(t, w, tt.contentType, tt.body, "Content-Encoding", tt.encoding); res.Code != http.StatusNoContent {
			t.Fatalf("%s: %d %s", tt.contentType, res.Code, res.Body)
		}
		if diff := cmp.Diff(want, w.records()); diff != "" {
			t.Errorf("%s: %s", tt.contentType, diff)
		}
	}
}

func TestLokiPushAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, contentType, body string
		status, stored          int
	}{
		{"nothing", typeJSON, `{}`, 204, 0},
		{"old lines", typeJSON, fmt.Sprintf(`{"streams":[{"stream":{"a":"b"},"values":[["1","old"],["%d","new"]]}]}`, testNow.UnixNano()), 400, 1},
		{"not JSON", typeJSON, `{`, 400, 0},
		{"no time", typeJSON, `{"streams":[{"stream":{},"values":[["x","y"]]}]}`, 400, 0},
		{"one part", typeJSON, `{"streams":[{"stream":{},"values":[["1"]]}]}`, 400, 0},
		{"another type", "text/plain", `x`, 415, 0},
		{"not packed", typeProtobuf, `x`, 400, 0},
		{"too many", typeJSON, `{"streams":[` + strings.Repeat(`{},`, 3*maxRecords) + `{}]}`, 413, 0},
	} {
		w := &recorder{}
		res := pushLoki(t, w, tt.contentType, []byte(tt.body))
		if res.Code != tt.status || len(w.records()) != tt.stored {
			t.Errorf("%s: %d %s, %d stored", tt.name, res.Code, res.Body, len(w.records()))
		}
	}
	if res := pushLoki(t, &recorder{}, typeJSON, []byte(`{}`), "Authorization", "Bearer bad"); res.Code != http.StatusUnauthorized {
		t.Errorf("a bad key: %d", res.Code)
	}
}

func FuzzLoki(f *testing.F) {
	f.Add([]byte(`{"streams":[{"stream":{"a":"b"},"values":[["1","old",{"x":"y"}]]}]}`), true)
	f.Add(protoMessage(1, protoMessage(1, `{a="b"}`, 2, protoMessage(1, protoMessage(1, int64(1)), 2, "line", 3, protoMessage(1, "k", 2, "v")))), false)
	f.Fuzz(func(t *testing.T, data []byte, isJSON bool) {
		decode := decodeLokiProto
		if isJSON {
			decode = decodeLokiJSON
		}
		streams, err := decode(data)
		if err != nil {
			return
		}
		n := 0
		for _, st := range streams {
			resource, _ := lokiResource(st.labels)
			for _, r := range resource {
				if r.Name == "" || r.Value == "" || len(r.Name) > MaxFieldNameBytes {
					t.Fatalf("resource %+v", r)
				}
			}
			for _, e := range st.entries {
				n++
				c := converter{now: e.at, retention: 1}
				rec, _ := c.lokiRecord(e, resource, "")
				for _, a := range rec.Attributes {
					if len(a.Name) > MaxFieldNameBytes || a.Value == "" || strings.HasPrefix(a.Name, telemetry.ResourcePrefix) {
						t.Fatalf("attribute %+v", a)
					}
				}
			}
		}
		if n > len(data)/2 {
			t.Fatalf("%d lines out of %d bytes", n, len(data))
		}
	})
}
