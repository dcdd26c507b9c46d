// What the scripts share that a Go test runs to its end: they print one JSON
// object a line, {"event":"authorize","url":…} when a person has to open a
// page, {"result":…} at the end, and fail with a message on standard error.

import { createServer } from "node:http";

export const print = (message) => process.stdout.write(JSON.stringify(message) + "\n");

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** Listens on a loopback port for the browser, as native apps do (RFC 8252). */
export async function listen() {
  const arrived = [];
  const waiting = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, `http://${request.headers.host}`);
    if (url.pathname !== "/callback") {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<h1>Signed in</h1>");
    const next = waiting.shift();
    if (next) next(url);
    else arrived.push(url);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const redirect = `http://127.0.0.1:${server.address().port}/callback`;
  return {
    redirect,
    /** Asks for a page to be opened and returns where the browser came back to. */
    open: (url) => {
      print({ event: "authorize", url: String(url) });
      return new Promise((resolve) => {
        if (arrived.length) resolve(arrived.shift());
        else waiting.push(resolve);
      });
    },
    close: () => server.close(),
  };
}

export const listTools = {
  method: "POST",
  headers: { "content-type": "application/json", accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25" },
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: {} }),
};
