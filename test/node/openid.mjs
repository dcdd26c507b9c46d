// A relying party on openid-client, a certified OpenID Connect library: its
// whole flow, with every check that it offers.
//
//   node openid.mjs --issuer URL --resource URL --auth METHOD

import { parseArgs } from "node:util";

import * as client from "openid-client";

import { check, listen, listTools, print } from "./callback.mjs";

const { values: options } = parseArgs({
  options: { issuer: { type: "string" }, resource: { type: "string" }, auth: { type: "string", default: "none" } },
});

const methods = { none: () => client.None(), client_secret_basic: () => client.ClientSecretBasic(), client_secret_post: () => client.ClientSecretPost() };
const callback = await listen();
const config = await client.dynamicClientRegistration(
  new URL(options.issuer),
  { client_name: "openid-client", redirect_uris: [callback.redirect], token_endpoint_auth_method: options.auth },
  methods[options.auth](),
  // http is for this computer only; the signature of the id_token is checked.
  { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] },
);
const server = config.serverMetadata();
check(server.issuer === options.issuer, `issuer ${server.issuer}`);

const signIn = async (extra) => {
  const verifier = client.randomPKCECodeVerifier();
  const nonce = client.randomNonce();
  const state = client.randomState();
  const parameters = {
    redirect_uri: callback.redirect,
    scope: "openid profile email offline_access logs:read",
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
    resource: options.resource,
    nonce,
    state,
    ...extra,
  };
  const url = server.pushed_authorization_request_endpoint
    ? await client.buildAuthorizationUrlWithPAR(config, parameters)
    : client.buildAuthorizationUrl(config, parameters);
  return client.authorizationCodeGrant(config, await callback.open(url), {
    pkceCodeVerifier: verifier,
    expectedNonce: nonce,
    expectedState: state,
    idTokenExpected: true,
    maxAge: extra?.max_age === undefined ? undefined : Number(extra.max_age),
  });
};

const tokens = await signIn({ max_age: "3600" });
const claims = tokens.claims();
check(tokens.refresh_token && tokens.expiresIn() > 0, "no refresh token, or no lifetime");
check(claims.sub && claims.aud === config.clientMetadata().client_id && claims.auth_time, `id_token ${JSON.stringify(claims)}`);

const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub);
check(info.email && info.name, `userinfo ${JSON.stringify(info)}`);

const fresh = await client.refreshTokenGrant(config, tokens.refresh_token, { resource: options.resource });
check(fresh.refresh_token && fresh.refresh_token !== tokens.refresh_token, "the refresh token did not rotate");
check(!fresh.id_token || fresh.claims().sub === claims.sub, "another person after the refresh");

const answer = await client.fetchProtectedResource(config, fresh.access_token, new URL(options.resource), listTools.method, listTools.body, new Headers(listTools.headers));
check(answer.status === 200, `tools/list: ${answer.status}`);

// A second sign-in in the same browser, with the account page asked for.
const again = await signIn({ prompt: "consent", login_hint: info.email });
check(again.claims().sub === claims.sub, "another person at the second sign-in");

await client.tokenRevocation(config, fresh.refresh_token);
let refused;
try {
  await client.refreshTokenGrant(config, fresh.refresh_token);
} catch (err) {
  refused = err;
}
check(refused?.error === "invalid_grant", `refresh after the revocation: ${refused ?? "worked"}`);
const left = await client.refreshTokenGrant(config, again.refresh_token);
check(left.access_token, "the other connection ended too");

callback.close();
print({ result: { claims, info, tools: await answer.json() } });
