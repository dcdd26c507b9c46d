// A client on the official TypeScript SDK that a Go test holds in its hand.
//
//   node client.mjs --url MCP_URL --state FILE [--name NAME]
//
// It reads commands from stdin, one JSON object a line, each with an id:
//
//   {"id":1,"op":"connect"}      connects; signs in through a browser if needed
//   {"id":2,"op":"listTools"}
//   {"id":3,"op":"callTool","name":"whoami","arguments":{}}
//   {"id":4,"op":"refresh"}      sends the refresh token now, as at the hour
//   {"id":5,"op":"close"}
//
// and writes one JSON object a line to stdout:
//
//   {"event":"authorize","url":…}        a page for a person to open
//   {"event":"http","method","url","status","challenge","error"}   what it saw
//   {"id":1,"result":…}  {"id":1,"error":{"name","message"}}
//
// A command that finds the connection refused asks for a sign-in by itself, as
// editors do, and goes on once the browser has come back. The file of --state
// keeps registration and tokens, so that a second process is the same client
// started again.

import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { refreshAuthorization, UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    state: { type: "string" },
    name: { type: "string", default: "TypeScript test client" },
  },
});

const print = (message) => process.stdout.write(JSON.stringify(message) + "\n");

/** Everything that outlives the process. */
const saved = (() => {
  try {
    return JSON.parse(readFileSync(options.state, "utf8"));
  } catch {
    return {};
  }
})();
const save = (change) => {
  Object.assign(saved, change);
  writeFileSync(options.state, JSON.stringify(saved), { mode: 0o600 });
};

/**
 * Waits for the browser on a loopback port, as native apps do (RFC 8252). Only
 * the newest sign-in counts: asking for its answer gives up older ones.
 */
class RedirectListener {
  #waiting;
  #arrived;

  async start() {
    this.server = createServer((request, response) => {
      const url = new URL(request.url, "http://127.0.0.1");
      if (url.pathname !== "/callback") {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<h1>Signed in</h1>");
      const answer = Object.fromEntries(url.searchParams);
      if (this.#waiting) this.#waiting.resolve(answer);
      else this.#arrived = answer;
      this.#waiting = undefined;
    });
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.server.address().port}/callback`;
  }

  next() {
    this.#waiting?.reject(new Error("another sign-in took over"));
    this.#waiting = undefined;
    if (this.#arrived) {
      const answer = this.#arrived;
      this.#arrived = undefined;
      return Promise.resolve(answer);
    }
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }));
  }
}

const listener = new RedirectListener();
const redirectUrl = await listener.start();

const provider = {
  redirectUrl,
  clientMetadata: {
    client_name: options.name,
    redirect_uris: [redirectUrl],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  state() {
    const state = randomUUID();
    save({ state });
    return state;
  },
  clientInformation: () => saved.client,
  saveClientInformation: (client) => save({ client }),
  tokens: () => saved.tokens,
  saveTokens: (tokens) => save({ tokens }),
  codeVerifier: () => saved.verifier,
  saveCodeVerifier: (verifier) => save({ verifier }),
  redirectToAuthorization: (url) => print({ event: "authorize", url: url.href }),
  invalidateCredentials(scope) {
    if (scope === "all" || scope === "client") save({ client: undefined });
    if (scope === "all" || scope === "tokens") save({ tokens: undefined });
    if (scope === "all" || scope === "verifier") save({ verifier: undefined });
  },
};

/** fetch that reports what the client saw; bodies only of OAuth errors. */
async function watchedFetch(url, init) {
  const response = await fetch(url, init);
  const seen = {
    event: "http",
    method: init?.method ?? "GET",
    url: String(url),
    status: response.status,
    challenge: response.headers.get("www-authenticate") ?? "",
  };
  if (response.status >= 400 && (response.headers.get("content-type") ?? "").includes("json")) {
    try {
      seen.error = (await response.clone().json()).error ?? "";
    } catch {
      // Not JSON after all: the status says enough.
    }
  }
  if (typeof seen.error !== "string") delete seen.error;
  print(seen);
  return response;
}

let client;
let transport;

async function open() {
  client = new Client({ name: options.name, version: "1.0.0" });
  transport = new StreamableHTTPClientTransport(new URL(options.url), { authProvider: provider, fetch: watchedFetch });
  await client.connect(transport);
  return { protocolVersion: transport.protocolVersion, server: client.getServerVersion() };
}

async function finishSignIn() {
  const answer = await listener.next();
  if (answer.error) throw new Error(`authorization refused: ${answer.error}`);
  if (answer.state !== saved.state) throw new Error("state came back changed");
  save({ iss: answer.iss });
  await transport.finishAuth(answer.code);
  await client.close();
}

async function signedIn(action) {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await finishSignIn();
    const opened = await open();
    return action === open ? opened : await action();
  }
}

const operations = {
  connect: () => signedIn(open),
  listTools: () => signedIn(() => client.listTools()),
  callTool: ({ name, arguments: args }) => signedIn(() => client.callTool({ name, arguments: args ?? {} })),
  async refresh() {
    // Only the refresh, without what auth() does when it fails: asking anew.
    const metadata = await (await watchedFetch(new URL("/.well-known/oauth-authorization-server", options.url))).json();
    const tokens = await refreshAuthorization(metadata.issuer, {
      metadata,
      clientInformation: saved.client,
      refreshToken: saved.tokens.refresh_token,
      resource: new URL(options.url),
      fetchFn: watchedFetch,
    });
    save({ tokens });
    return { scope: tokens.scope, expiresIn: tokens.expires_in };
  },
  async close() {
    await client?.close();
    setImmediate(() => process.exit(0));
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === "") continue;
  const { id, op, ...rest } = JSON.parse(line);
  // Not awaited: a command that waits for the browser must not hold up close.
  Promise.resolve()
    .then(() => operations[op](rest))
    .then(
      (result) => print({ id, result }),
      (error) => print({ id, error: { name: error?.constructor?.name ?? "Error", code: error?.errorCode ?? error?.code, message: String(error?.message ?? error) } }),
    );
}
process.exit(0);
