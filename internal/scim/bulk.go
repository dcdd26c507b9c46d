package scim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// bulkRequest is several operations in one (RFC 7644 §3.7).
type bulkRequest struct {
	FailOnErrors int             `json:"failOnErrors"`
	Operations   []bulkOperation `json:"Operations"`
}

type bulkOperation struct {
	Method  string          `json:"method"`
	BulkID  string          `json:"bulkId"`
	Path    string          `json:"path"`
	Version string          `json:"version"`
	Data    json.RawMessage `json:"data"`
}

type bulkResult struct {
	Method   string `json:"method"`
	BulkID   string `json:"bulkId,omitempty"`
	Location string `json:"location,omitempty"`
	Version  string `json:"version,omitempty"`
	Status   string `json:"status"`
	Response any    `json:"response,omitempty"`
}

// maxBulk bounds the operations of a bulk request.
const maxBulk = 100

// bulk does one operation after another. One that refers to a resource that
// is made further down fails: the order is the client's to choose.
func (s *Server) bulk(r *request) (reply, error) {
	var req bulkRequest
	if err := readInto(r.Request, &req); err != nil {
		return reply{}, err
	}
	if len(req.Operations) > maxBulk {
		return reply{}, &Error{http.StatusRequestEntityTooLarge, "tooMany", "a bulk request has at most " + strconv.Itoa(maxBulk) + " operations"}
	}
	results, failed := make([]bulkResult, 0, len(req.Operations)), 0
	ids := make(map[string]string)
	for _, op := range req.Operations {
		res := s.bulkOne(r, op, ids)
		results = append(results, res)
		if res.Response != nil {
			if failed++; req.FailOnErrors > 0 && failed >= req.FailOnErrors {
				break
			}
		}
	}
	return reply{status: http.StatusOK, body: map[string]any{"schemas": []string{messageBulkR}, "Operations": results}}, nil
}

func (s *Server) bulkOne(r *request, op bulkOperation, ids map[string]string) bulkResult {
	method := strings.ToUpper(op.Method)
	res := bulkResult{Method: method, BulkID: op.BulkID}
	rep, err := s.bulkReply(r, method, op, ids)
	if err != nil {
		e := asError(err)
		if e.Status >= http.StatusInternalServerError {
			s.Logger.ErrorContext(r.Context(), "bulk operation failed", "err", err)
		}
		res.Status, res.Response = strconv.Itoa(e.Status), bodyOf(e)
		return res
	}
	res.Status, res.Version, res.Location = strconv.Itoa(rep.status), rep.version, rep.location
	if made, ok := rep.body.(map[string]any); ok && method == http.MethodPost && op.BulkID != "" {
		ids[op.BulkID], _ = made["id"].(string)
	}
	return res
}

func (s *Server) bulkReply(r *request, method string, op bulkOperation, ids map[string]string) (reply, error) {
	switch method {
	case http.MethodPost:
		if op.BulkID == "" {
			return reply{}, invalid("invalidSyntax", "POST needs a bulkId")
		}
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return reply{}, invalid("invalidSyntax", "method must be POST, PUT, PATCH or DELETE")
	}
	path, data := op.Path, string(op.Data)
	for bulkID, id := range ids {
		path = strings.ReplaceAll(path, "bulkId:"+bulkID, id)
		quoted, err := json.Marshal("bulkId:" + bulkID)
		if err != nil {
			return reply{}, err
		}
		data = strings.ReplaceAll(data, string(quoted), strconv.Quote(id))
	}
	if strings.Contains(path, "bulkId:") || strings.Contains(data, `"bulkId:`) {
		return reply{}, &Error{http.StatusConflict, "invalidValue", "a bulkId that is not made before this operation"}
	}
	u, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(u.Path, "/Users") && !strings.HasPrefix(u.Path, "/Groups") {
		return reply{}, invalid("invalidPath", "path must begin with /Users or /Groups")
	}
	inner := r.Clone(r.Context())
	inner.Method, inner.URL, inner.Body = method, u, io.NopCloser(bytes.NewReader([]byte(data)))
	inner.Header = http.Header{"Content-Type": {contentType}}
	if op.Version != "" {
		inner.Header.Set("If-Match", op.Version)
	}
	return s.route(&request{inner, r.by}, u.Path)
}
