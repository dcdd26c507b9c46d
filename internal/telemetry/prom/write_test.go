package prom

import (
	"testing"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/orielhq/oriel/internal/telemetry"
)

// FuzzRename: no attribute of a data point becomes the label of a resource.
func FuzzRename(f *testing.F) {
	for _, name := range []string{"service.name", "service_name", "service..name", "service\u00fcname", "job", "__name__", "le", "k8s.pod.name", "1", "", "_", "team"} {
		f.Add(name)
	}
	reserved := newRenamer().reserved
	f.Fuzz(func(t *testing.T, name string) {
		m := pcommon.NewMap()
		m.PutStr(name, "forged")
		newRenamer().attributes(m)
		m.Range(func(k string, v pcommon.Value) bool {
			namer := otlptranslator.LabelNamer{}
			if label, err := namer.Build(k); err == nil && (reserved[label] || label == telemetry.MetricName) {
				t.Errorf("%q becomes %q, the label %q", name, k, label)
			}
			return true
		})
		if m.Len() != 1 {
			t.Errorf("%q is lost", name)
		}
	})
}

func TestEveryPromotedAttributeIsReserved(t *testing.T) {
	r := newRenamer()
	for _, a := range telemetry.PromotedAttributes() {
		namer := otlptranslator.LabelNamer{}
		label, err := namer.Build(a)
		if err != nil || label != telemetry.LabelName(a) || !r.isReserved(a) {
			t.Errorf("%s becomes the label %q, we say %q", a, label, telemetry.LabelName(a))
		}
	}
}
