package browser

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/orielhq/oriel/test/testenv"
)

type object = map[string]any

func attributes(pairs ...string) []object {
	var out []object
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, object{"key": pairs[i], "value": object{"stringValue": pairs[i+1]}})
	}
	return out
}

func unix(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

const shopTrace = "5b8efff798038103d269b633813fc60c"

// sendShop sends about an hour of a small shop: its logs, with errors of payment in
// the last quarter, how long its requests took, and a slow checkout.
func sendShop(o *testenv.Oriel, key string, now time.Time) {
	messages := map[string]string{
		"web": "GET /cart 200 in %d ms", "cart": "added item %d to the cart", "checkout": "order %d placed", "payment": "charged card for order %d",
	}
	var logs, metrics []object
	for s, service := range []string{"web", "cart", "checkout", "payment"} {
		var records, points []object
		for i := range 180 {
			at := now.Add(-time.Duration(180-i) * 19 * time.Second)
			level, number, text := "INFO", 9, fmt.Sprintf(messages[service], 10+i*7%90)
			switch {
			case service == "payment" && i > 135 && i%2 == 0:
				level, number, text = "ERROR", 17, fmt.Sprintf("card declined for order %d: issuer timeout", 10+i*7%90)
			case i%17 == s:
				level, number, text = "WARN", 13, "retrying after a slow answer"
			}
			record := object{
				"timeUnixNano": unix(at), "severityNumber": number, "severityText": level, "body": object{"stringValue": text},
				"attributes": attributes("http.route", "/"+service, "user.tier", []string{"free", "gold"}[i%2]),
			}
			if service == "payment" && i == 178 {
				record["traceId"], record["spanId"] = shopTrace, "00f067aa0ba90206"
			}
			records = append(records, record)
			value := 0.08 + 0.05*float64(s) + 0.02*math.Sin(float64(i)/12+float64(s))
			if service == "payment" && i > 135 {
				value += 0.006 * float64(i-135)
			}
			points = append(points, object{"timeUnixNano": unix(at), "asDouble": value})
		}
		resource := object{"attributes": attributes("service.name", service)}
		logs = append(logs, object{"resource": resource, "scopeLogs": []object{{"logRecords": records}}})
		metrics = append(metrics, object{"resource": resource, "scopeMetrics": []object{{"metrics": []object{{
			"name": "http.server.latency", "unit": "s", "description": "How long requests took.", "gauge": object{"dataPoints": points},
		}}}}})
	}
	o.SendOTLP(key, "/v1/logs", object{"resourceLogs": logs})
	o.SendOTLP(key, "/v1/metrics", object{"resourceMetrics": metrics})

	start := now.Add(-45 * time.Second)
	var spans []object
	for _, s := range []struct {
		id, parent      int
		service, name   string
		from, to, state int
	}{
		{1, 0, "web", "POST /checkout", 0, 1340, 2},
		{2, 1, "cart", "GET /cart", 12, 96, 0},
		{3, 2, "cart", "SELECT cart_items", 20, 34, 0},
		{10, 2, "cart", "SELECT cart_items", 36, 47, 0},
		{11, 2, "cart", "SELECT cart_items", 48, 61, 0},
		{12, 2, "cart", "SELECT cart_items", 63, 74, 0},
		{13, 2, "cart", "SELECT cart_items", 75, 88, 0},
		{4, 1, "checkout", "PlaceOrder", 104, 1325, 2},
		{5, 4, "checkout", "INSERT orders", 162, 198, 0},
		{6, 4, "payment", "Charge", 160, 1290, 2},
		{7, 6, "payment", "POST issuer.example/authorize", 170, 570, 2},
		{8, 6, "payment", "POST issuer.example/authorize", 620, 1270, 2},
		{9, 4, "checkout", "publish order.failed", 1295, 1318, 0},
	} {
		span := object{
			"traceId": shopTrace, "spanId": fmt.Sprintf("00f067aa0ba902%02d", s.id), "name": s.name, "kind": 2, "status": object{"code": s.state},
			"startTimeUnixNano": unix(start.Add(time.Duration(s.from) * time.Millisecond)), "endTimeUnixNano": unix(start.Add(time.Duration(s.to) * time.Millisecond)),
			"attributes": attributes("http.request.method", "POST"),
		}
		if s.parent > 0 {
			span["parentSpanId"] = fmt.Sprintf("00f067aa0ba902%02d", s.parent)
		}
		if s.id == 8 {
			span["events"] = []object{{"timeUnixNano": unix(start.Add(1270 * time.Millisecond)), "name": "exception", "attributes": attributes("exception.type", "IssuerTimeout", "exception.message", "no answer in 650 ms")}}
		}
		spans = append(spans, object{"resource": object{"attributes": attributes("service.name", s.service)}, "scopeSpans": []object{{"spans": []object{span}}}})
	}
	o.SendOTLP(key, "/v1/traces", object{"resourceSpans": spans})
}

// TestExploreLooks: somebody follows an error from the histogram to its trace
// and the metric, without JavaScript, and axe-core looks at each page.
func TestExploreLooks(t *testing.T) {
	t.Parallel()
	o := testenv.StartOriel(t)
	o.AddPerson(email, name)
	o.AddTeam("operations", "Operations") // gets Oriel's own logs
	o.AddTeam("web-shop", "Web Shop")
	o.SetMember("web-shop", email, "analyst")
	sendShop(o, o.IngestKey("web-shop"), time.Now())

	b := testenv.NewBrowser(t)
	b.Open(o.URL + "/teams/web-shop/explore")
	b.SignIn(email)
	b.ExpectHeading("Web Shop")
	// What was sent can be found after about a second.
	for deadline := time.Now().Add(testenv.ShortWait); time.Now().Before(deadline) && !b.Has("720 records match"); {
		b.Press("Search")
	}
	b.ExpectText("720 records match, 50 shown, newest first.")
	b.Accessible(t, "logs")
	b.Follow("Older")
	b.ExpectText("50 shown, newest first.")

	b.Open(o.URL + "/teams/web-shop/explore?severity=warn%2B&from=now-10m&to=now")
	b.ExpectText("card declined")
	b.UnfoldFirst("issuer timeout")
	b.ExpectText("user.tier")
	b.Look(t, "explore-logs")
	b.Open(o.URL + "/teams/web-shop/explore?severity=error%2B&service=payment")
	b.Press("6 hours")
	b.ExpectText("22 records match")
	b.Fill("Query", "declined and (")
	b.Press("Search")
	b.ExpectText("at character")
	b.Accessible(t, "a mistake in a query")

	b.Open(o.URL + "/teams/web-shop/explore/traces?errors=1&service=payment")
	for deadline := time.Now().Add(testenv.ShortWait); time.Now().Before(deadline) && !b.Has("POST /checkout"); {
		b.Press("Search")
	}
	b.Accessible(t, "traces")
	b.Follow("POST /checkout")
	b.ExpectText("13 spans of 4 services")
	b.ExpectText("card declined")
	b.UnfoldFirst("5 × SELECT cart_items")
	b.Accessible(t, "spans alike")
	b.UnfoldFirst("Charge")
	b.Look(t, "explore-trace")

	b.Open(o.URL + "/teams/web-shop/explore/metrics")
	b.Accessible(t, "list of metrics")
	b.Follow("http_server_latency_seconds")
	b.ExpectText("4 series")
	b.Look(t, "explore-metrics")

	// By keyboard alone, to the numbers behind the picture.
	b.Open(o.URL + "/teams/web-shop/explore")
	b.TabTo("The numbers as a table")
	b.Type("\r")
	b.ExpectText("From (UTC)")
	calm(t, b)
}
