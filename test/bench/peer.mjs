// The peer of make bench-peer: oidc-provider as its documentation sets it up
// for JWT access tokens of one resource, with its own in-memory adapter.
// Beside the provider it answers two paths with which the benchmark makes
// what it starts from, without a browser: /seed/refresh and /seed/code.
import { generateKeyPairSync, createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const resource = 'http://127.0.0.1:1/mcp';
const scope = process.argv[3];
const redirect = 'http://127.0.0.1:7777/callback';
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'public', application_type: 'native', token_endpoint_auth_method: 'none', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'] },
    { client_id: 'machine', client_secret: 'machine-secret-of-the-benchmark', token_endpoint_auth_method: 'client_secret_post', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  clientAuthMethods: ['none', 'client_secret_post', 'client_secret_basic'],
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: ['openid', 'offline_access', 'logs:read'],
  rotateRefreshToken: true,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'logs:read', audience: resource, accessTokenTTL: 3600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
  ttl: { AccessToken: 3600, AuthorizationCode: 600, ClientCredentials: 3600, Grant: 86400, IdToken: 3600, RefreshToken: 86400, Session: 86400, Interaction: 3600 },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});

async function consent() {
  const grant = new provider.Grant({ clientId: 'public', accountId: 'ada' });
  grant.addOIDCScope(scope.replace(' logs:read', ''));
  grant.addResourceScope(resource, 'logs:read');
  return grant.save();
}

async function refresh(client) {
  const token = new provider.RefreshToken({ client, accountId: 'ada', grantId: await consent(), gty: 'authorization_code', resource, scope, authTime: Math.floor(Date.now() / 1000) });
  return token.save();
}

async function code(client, verifier) {
  const value = new provider.AuthorizationCode({
    client, accountId: 'ada', grantId: await consent(), resource, scope, redirectUri: redirect, authTime: Math.floor(Date.now() / 1000),
    codeChallenge: createHash('sha256').update(verifier).digest('base64url'), codeChallengeMethod: 'S256',
  });
  return value.save();
}

const handle = provider.callback();
createServer(async (req, res) => {
  const url = new URL(req.url, issuer);
  if (!url.pathname.startsWith('/seed/')) {
    handle(req, res);
    return;
  }
  try {
    const client = await provider.Client.find('public');
    const made = [];
    for (let i = 0; i < Number(url.searchParams.get('n')); i += 1) {
      made.push(url.pathname === '/seed/code' ? await code(client, url.searchParams.get('verifier')) : await refresh(client));
    }
    res.end(JSON.stringify(made));
  } catch (err) {
    res.statusCode = 500;
    res.end(String(err.stack));
  }
}).listen(port, '127.0.0.1', () => console.log('ready'));
