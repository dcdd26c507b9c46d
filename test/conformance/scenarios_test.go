package conformance

// scenario is one of the suite's.
type scenario struct {
	name string
	// why says why it does not apply; "" for one that runs.
	why string
}

// Why scenarios do not apply.
const (
	noSessions    = "Oriel gives out no session ids: every request stands for itself, on any replica"
	fixtureTool   = "calls a tool that exists only in the suite's own example server"
	noResources   = "reads resources that exist only in the suite's own example server"
	noPrompts     = "uses prompts that exist only in the suite's own example server"
	noElicitation = "Oriel's tools ask nothing back: no elicitation, sampling or roots"
	extension     = "an optional extension that Oriel does not offer"
)

var serverScenarios = []scenario{
	{"server-initialize", ""},
	{"server-stateless", ""},
	{"logging-set-level", ""},
	{"ping", ""},
	{"tools-list", ""},
	{"server-sse-multiple-streams", ""},
	{"dns-rebinding-protection", ""},
	{"caching", ""},
	{"http-header-validation", ""},
	{"input-required-result-unsupported-methods", ""},

	{"server-session-lifecycle", noSessions},
	{"completion-complete", noPrompts},
	{"tools-call-simple-text", fixtureTool},
	{"tools-call-image", fixtureTool},
	{"tools-call-audio", fixtureTool},
	{"tools-call-embedded-resource", fixtureTool},
	{"tools-call-mixed-content", fixtureTool},
	{"tools-call-with-logging", fixtureTool},
	{"tools-call-error", fixtureTool},
	{"tools-call-with-progress", fixtureTool},
	{"tools-call-sampling", noElicitation},
	{"tools-call-elicitation", noElicitation},
	{"json-schema-2020-12", fixtureTool},
	{"elicitation-sep1034-defaults", noElicitation},
	{"server-sse-polling", fixtureTool},
	{"elicitation-sep1330-enums", noElicitation},
	{"resources-list", ""},
	{"resources-read-text", noResources},
	{"resources-read-binary", noResources},
	{"resources-templates-read", noResources},
	{"resources-subscribe", noResources},
	{"resources-unsubscribe", noResources},
	{"sep-2164-resource-not-found", ""},
	{"sep-2640-skills-directory", extension},
	{"sep-2640-skills-enumeration", extension},
	{"sep-2640-skills-manifest", extension},
	{"prompts-list", ""},
	{"prompts-get-simple", noPrompts},
	{"prompts-get-with-args", noPrompts},
	{"prompts-get-embedded-resource", noPrompts},
	{"prompts-get-with-image", noPrompts},
	{"http-custom-header-server-validation", fixtureTool},
	{"tasks-lifecycle", extension},
	{"tasks-capability-negotiation", extension},
	{"tasks-wire-fields", extension},
	{"tasks-request-state-removal", extension},
	{"tasks-mrtr-input", extension},
	{"tasks-request-headers", extension},
	{"tasks-dispatch-and-envelope", extension},
	{"tasks-status-notifications", extension},
	{"tasks-required-task-error", extension},
	{"tasks-mrtr-composition", extension},
	{"input-required-result-basic-elicitation", noElicitation},
	{"input-required-result-basic-sampling", noElicitation},
	{"input-required-result-basic-list-roots", noElicitation},
	{"input-required-result-request-state", noElicitation},
	{"input-required-result-multiple-input-requests", noElicitation},
	{"input-required-result-multi-round", noElicitation},
	{"input-required-result-missing-input-response", noElicitation},
	{"input-required-result-non-tool-request", noElicitation},
	{"input-required-result-result-type", noElicitation},
	{"input-required-result-tampered-state", noElicitation},
	{"input-required-result-capability-check", noElicitation},
	{"input-required-result-ignore-extra-params", noElicitation},
	{"input-required-result-validate-input", noElicitation},
}

// authorizationScenarios run together: the second uses what the first found.
var authorizationScenarios = []scenario{
	{"authorization-server-metadata-endpoint", ""},
	{"authorization-code-grant", ""},
}
