// A client on oauth4webapi, a low-level library that leaves no check out: from
// the MCP server's own metadata to the end of the grant.
//
//   node oauth4webapi.mjs --resource URL --auth METHOD

import { parseArgs } from "node:util";

import * as oauth from "oauth4webapi";

import { check, listen, listTools, print } from "./callback.mjs";

const { values: options } = parseArgs({ options: { resource: { type: "string" }, auth: { type: "string", default: "none" } } });
const http = { [oauth.allowInsecureRequests]: true }; // for this computer only
const resource = new URL(options.resource);
const callback = await listen();

// RFC 9728, then RFC 8414.
const described = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, http));
const issuer = new URL(described.authorization_servers[0]);
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { ...http, algorithm: "oauth2" }));

const client = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(as, { client_name: "oauth4webapi", redirect_uris: [callback.redirect], token_endpoint_auth_method: options.auth }, http),
);
const auth = {
  none: () => oauth.None(),
  client_secret_basic: () => oauth.ClientSecretBasic(client.client_secret),
  client_secret_post: () => oauth.ClientSecretPost(client.client_secret),
}[options.auth]();

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const url = new URL(as.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: client.client_id,
  redirect_uri: callback.redirect,
  response_type: "code",
  scope: described.scopes_supported.join(" "),
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  resource: described.resource,
  state,
})) {
  url.searchParams.set(name, value);
}
// Checks state and, as the server says that it sends it, iss (RFC 9207).
const parameters = oauth.validateAuthResponse(as, client, await callback.open(url), state);
const tokens = await oauth.processAuthorizationCodeResponse(
  as,
  client,
  await oauth.authorizationCodeGrantRequest(as, client, auth, parameters, callback.redirect, verifier, { ...http, additionalParameters: { resource: described.resource } }),
);
check(tokens.token_type === "bearer" && tokens.refresh_token && tokens.expires_in > 0, `tokens ${JSON.stringify(Object.keys(tokens))}`);

// RFC 9068, as a resource server would.
const asked = new Request(resource, { headers: { authorization: `Bearer ${tokens.access_token}` } });
const claims = await oauth.validateJwtAccessToken(as, asked, described.resource, http);
check(claims.sub && claims.client_id, `access token ${JSON.stringify(claims)}`);

const call = (token) => oauth.protectedResourceRequest(token, listTools.method, resource, new Headers(listTools.headers), listTools.body, http);
const answer = await call(tokens.access_token);
check(answer.status === 200, `tools/list: ${answer.status}`);

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(as, client, await oauth.refreshTokenGrantRequest(as, client, auth, token, { ...http, additionalParameters: { resource: described.resource } }));
const fresh = await refresh(tokens.refresh_token);
check(fresh.refresh_token !== tokens.refresh_token, "the refresh token did not rotate");
check((await call(fresh.access_token)).status === 200, "tools/list after the refresh");

await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, fresh.access_token, http));
let challenge;
for (let i = 0; i < 100 && !challenge; i += 1) {
  try {
    await call(fresh.access_token);
  } catch (err) {
    if (!(err instanceof oauth.WWWAuthenticateChallengeError)) throw err;
    challenge = err.cause[0];
  }
}
check(challenge?.scheme === "bearer" && challenge.parameters.error === "invalid_token" && challenge.parameters.resource_metadata, `challenge ${JSON.stringify(challenge)}`);
let refused;
try {
  await refresh(fresh.refresh_token);
} catch (err) {
  refused = err;
}
check(refused?.error === "invalid_grant" && refused.status === 400, `refresh after the revocation: ${refused ?? "worked"}`);

callback.close();
print({ result: { claims } });
