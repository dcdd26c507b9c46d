// Speaks to passkeys and security keys for the forms that have data-passkey:
// "get" signs in, "create" sets one up. The answer goes into the form, and the
// form is sent like any other.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const ids = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));

  const get = async (o) => {
    o.challenge = bytes(o.challenge);
    o.allowCredentials = ids(o.allowCredentials);
    const c = await navigator.credentials.get({ publicKey: o });
    const r = c.response;
    return {
      id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment, clientExtensionResults: {},
      response: {
        clientDataJSON: text(r.clientDataJSON), authenticatorData: text(r.authenticatorData), signature: text(r.signature),
        userHandle: r.userHandle ? text(r.userHandle) : undefined,
      },
    };
  };

  const create = async (o) => {
    o.challenge = bytes(o.challenge);
    o.user.id = bytes(o.user.id);
    o.excludeCredentials = ids(o.excludeCredentials);
    const c = await navigator.credentials.create({ publicKey: o });
    const r = c.response;
    return {
      id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment, clientExtensionResults: {},
      response: {
        clientDataJSON: text(r.clientDataJSON), attestationObject: text(r.attestationObject),
        transports: r.getTransports ? r.getTransports() : [],
      },
    };
  };

  const words = (error) => {
    switch (error.name) {
      case "InvalidStateError": return "This device or security key is set up already.";
      case "NotAllowedError": return "Nothing was confirmed. Try again when you are ready.";
      case "SecurityError": return "The browser refuses passkeys at this address.";
      default: return "The browser could not use a passkey (" + error.name + ").";
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    const button = form.querySelector("button[type=button]");
    const problem = form.querySelector("[data-passkey-problem]");
    if (!window.PublicKeyCredential) {
      problem.textContent = "This browser has no passkeys at this address.";
      problem.hidden = false;
      continue;
    }
    button.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      problem.hidden = true;
      try {
        const ask = form.dataset.passkey === "create" ? create : get;
        form.elements.passkey.value = JSON.stringify(await ask(JSON.parse(form.dataset.options)));
        form.submit();
      } catch (error) {
        problem.textContent = words(error);
        problem.hidden = false;
        button.disabled = false;
      }
    });
  }
})();
