package scim

import "net/http"

// discovery answers what this server can do (RFC 7644 §4, RFC 7643 §5 to §7).
func (s *Server) discovery(kind, id string) (reply, error) {
	at := s.PublicURL + Path
	switch kind {
	case "serviceproviderconfig":
		if id != "" {
			return reply{}, errNoSuchEndpoint
		}
		yes, no := map[string]any{"supported": true}, map[string]any{"supported": false}
		return reply{status: http.StatusOK, body: map[string]any{
			"schemas":        []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
			"patch":          yes,
			"bulk":           map[string]any{"supported": true, "maxOperations": maxBulk, "maxPayloadSize": bodyLimit},
			"filter":         map[string]any{"supported": true, "maxResults": maxCount},
			"changePassword": no, "sort": no, "etag": yes,
			"authenticationSchemes": []any{map[string]any{
				"type": "oauthbearertoken", "name": "Bearer token", "primary": true,
				"description": "A provisioning token that an administrator made: oriel scim token add",
			}},
			"meta": map[string]any{"resourceType": "ServiceProviderConfig", "location": at + "/ServiceProviderConfig"},
		}}, nil
	case "resourcetypes":
		return choose(id, "name", []map[string]any{
			resourceType(at, "User", "/Users", schemaUser, "People with an account"),
			resourceType(at, "Group", "/Groups", schemaGroup, "Groups, to which administrators give roles in teams"),
		})
	default:
		return choose(id, "id", []map[string]any{userSchema(at), groupSchema(at)})
	}
}

// choose answers with all, or with the one that has the id.
func choose(id, key string, all []map[string]any) (reply, error) {
	if id == "" {
		return reply{status: http.StatusOK, body: listResponse{[]string{messageList}, len(all), 1, len(all), all}}, nil
	}
	for _, r := range all {
		if r[key] == id {
			return reply{status: http.StatusOK, body: r}, nil
		}
	}
	return reply{}, ErrNotFound
}

func resourceType(at, name, endpoint, schema, description string) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": name, "name": name, "endpoint": endpoint,
		"schema": schema, "description": description,
		"meta": map[string]any{"resourceType": "ResourceType", "location": at + "/ResourceTypes/" + name},
	}
}

// attribute describes one attribute (RFC 7643 §7).
type attribute struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	MultiValued bool   `json:"multiValued"`
	Description string `json:"description"`
	Required    bool   `json:"required"`
	CaseExact   bool   `json:"caseExact"`
	Mutability  string `json:"mutability"`
	Returned    string `json:"returned"`
	Uniqueness  string `json:"uniqueness"`
	// References are the resources that a reference can be to.
	References []string    `json:"referenceTypes,omitempty"`
	Sub        []attribute `json:"subAttributes,omitempty"`
}

func text(name, description string) attribute {
	return attribute{Name: name, Type: "string", Description: description, Mutability: "readWrite", Returned: "default", Uniqueness: "none"}
}

func fixed(a attribute) attribute { a.Mutability = "readOnly"; return a }

// once is set with its entry and then stays (RFC 7643 §7, immutable).
func once(a attribute) attribute { a.Mutability = "immutable"; return a }

func reference(to, description string) attribute {
	a := text("$ref", description)
	a.Type, a.References = "reference", []string{to}
	return a
}

func complexOf(name, description string, multi bool, sub ...attribute) attribute {
	a := text(name, description)
	a.Type, a.MultiValued, a.Sub = "complex", multi, sub
	return a
}

func flag(name, description string) attribute {
	a := text(name, description)
	a.Type = "boolean"
	return a
}

func schema(at, id, name, description string, attributes ...attribute) map[string]any {
	return map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": id, "name": name, "description": description,
		"attributes": attributes, "meta": map[string]any{"resourceType": "Schema", "location": at + "/Schemas/" + id},
	}
}

func userSchema(at string) map[string]any {
	userName := text("userName", "What the provider calls the user; the e-mail address where emails is not given")
	userName.Required, userName.Uniqueness = true, "server"
	external := text("externalId", "The provider's own identifier")
	external.CaseExact = true
	return schema(at, schemaUser, "User", "A person with an account",
		userName, external,
		complexOf("name", "The parts of the name", false,
			text("formatted", "The whole name"), text("givenName", "The given name"), text("familyName", "The family name")),
		text("displayName", "The name that others see"),
		flag("active", "Whether the person may sign in; false ends their sessions and connections at once"),
		complexOf("emails", "Addresses; the primary one is kept, which the person signs in with", true,
			text("value", "The address"), text("type", "work, home or other"), flag("primary", "Whether it is the one that is kept")),
		fixed(complexOf("groups", "The groups that the user is in", true,
			fixed(text("value", "The group's id")), fixed(text("display", "The group's name")), fixed(reference("Group", "The group's address")))))
}

func groupSchema(at string) map[string]any {
	name := text("displayName", "The name of the group")
	name.Required, name.Uniqueness = true, "server"
	external := text("externalId", "The provider's own identifier")
	external.CaseExact = true
	return schema(at, schemaGroup, "Group", "A group of people, to which administrators give roles in teams",
		name, external,
		complexOf("members", "The people in the group", true,
			once(text("value", "The user's id")), once(text("display", "The user's name")), once(text("type", "User")), once(reference("User", "The user's address"))))
}
