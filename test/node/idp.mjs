// Identity providers for the tests of single sign-on: an OpenID Connect
// provider (oidc-provider) and a SAML 2.0 one (samlify), on a port of their
// own. They ask for a user name, and whether to use a second factor, and
// believe anything.
//
//   node idp.mjs oidc|saml SETTINGS
//
// SETTINGS is JSON: oriel (the address of Oriel), slug (of the provider
// there), and for SAML key and certificate (PEM) and encrypted. It prints one
// line of JSON with the issuer, or the address of the metadata.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const [kind, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const here = `${settings.oriel}/login/sso/${settings.slug}`;

// Not the host of Oriel: to the browser the two are different sites.
const host = 'localhost';

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const base = `http://${host}:${server.address().port}`;

const people = {
  ada: { email: 'ada@example.com', name: 'Ada Lovelace', groups: ['engineering', 'everybody'] },
  eve: { email: 'eve@elsewhere.example', name: 'Eve', groups: ['engineering'] },
};

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;
const escape = (s) => String(s).replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
const form = (action, hidden) => page('Corporate sign-in', `<form method="post" action="${escape(action)}">
  ${Object.entries(hidden).map(([k, v]) => `<input type="hidden" name="${k}" value="${escape(v)}">`).join('')}
  <p><label for="user">User name</label> <input id="user" name="user" autofocus></p>
  <p><input type="checkbox" id="mfa" name="mfa" value="1"> <label for="mfa">Second factor</label></p>
  <button>Log in</button></form>`);

async function body(req) {
  let all = '';
  for await (const chunk of req) all += chunk;
  return new URLSearchParams(all);
}

function html(res, content, status = 200) {
  res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' });
  res.end(content);
}

async function oidc() {
  const { Provider } = await import('oidc-provider');
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const provider = new Provider(base, {
    clients: [{
      client_id: 'oriel', client_secret: 'secret-of-the-tests-with-enough-bits', redirect_uris: [`${here}/callback`],
      post_logout_redirect_uris: [`${here}/signed-out`], backchannel_logout_uri: `${here}/backchannel`, backchannel_logout_session_required: true,
    }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig' }] },
    cookies: { keys: [randomUUID()] },
    acrValues: ['one-factor', 'two-factors'],
    conformIdTokenClaims: false,
    claims: { openid: ['sub', 'amr'], email: ['email', 'email_verified'], profile: ['name'], groups: ['groups'] },
    scopes: ['openid', 'email', 'profile', 'groups'],
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    // Oriel is on this computer, where it would not go by itself.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, email_verified: true, ...people[id] }) },
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid email profile groups');
      await grant.save();
      return grant;
    },
  });
  provider.on('backchannel.error', (_, err) => console.error('back-channel logout:', err.message, err.cause ?? ''));
  provider.on('server_error', (_, err) => console.error(err));
  const callback = provider.callback();
  server.on('request', async (req, res) => {
    if (!req.url.startsWith('/interaction/')) return callback(req, res);
    try {
      if (req.method === 'GET') return html(res, form(req.url, {}));
      const asked = await body(req);
      const mfa = asked.has('mfa');
      await provider.interactionFinished(req, res, {
        login: { accountId: asked.get('user'), amr: mfa ? ['pwd', 'otp', 'mfa'] : ['pwd'], acr: mfa ? 'two-factors' : 'one-factor' },
      }, { mergeWithLastSubmission: false });
    } catch (err) {
      html(res, page('Error', escape(err.stack)), 500);
    }
  });
  return { issuer: base };
}

async function saml() {
  const samlify = (await import('samlify')).default ?? await import('samlify');
  // Schemas need a Java or native validator; shapes are Oriel's to check.
  samlify.setSchemaValidator({ validate: async () => 'not checked' });
  const binding = settings.binding ?? 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect';
  const short = binding.endsWith('HTTP-POST') ? 'post' : 'redirect';
  const idp = samlify.IdentityProvider({
    entityID: `${base}/metadata`, signingCert: settings.certificate, privateKey: settings.key, wantAuthnRequestsSigned: true,
    requestSignatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', isAssertionEncrypted: Boolean(settings.encrypted),
    nameIDFormat: ['urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'],
    wantLogoutRequestSigned: true, wantLogoutResponseSigned: true,
    singleSignOnService: [{ Binding: binding, Location: `${base}/sso` }],
    singleLogoutService: [{ Binding: binding, Location: `${base}/slo` }],
  });
  // Oriel's own description is there once the provider is added.
  const provider = async () => {
    const metadata = await (await fetch(`${here}/metadata`)).text();
    return samlify.ServiceProvider({ metadata, wantLogoutRequestSigned: true, wantLogoutResponseSigned: true });
  };

  // Who is signed in here: one person, in the browser of the test.
  let session;

  // pass has the browser take a message on.
  function pass(res, { context, type, entityEndpoint, relayState }) {
    if (short === 'redirect') {
      res.writeHead(303, { Location: context });
      return res.end();
    }
    html(res, page('Going on', `<form method="post" action="${escape(entityEndpoint)}"><input type="hidden" name="${type}" value="${context}">
      ${relayState ? `<input type="hidden" name="RelayState" value="${escape(relayState)}">` : ''}<button>Go on</button></form>`));
  }

  // Somebody signs out here: the other side is told, with a signed request.
  async function tell(res) {
    pass(res, idp.createLogoutRequest(await provider(), short, { logoutNameID: session.name, sessionIndex: session.index }, { relayState: 'back-at-the-portal' }));
  }

  // The other side asks, or answers; samlify refuses what is not signed.
  async function single(res, message, request) {
    const sp = await provider();
    if (message.has('SAMLResponse')) {
      const { extract } = await idp.parseLogoutResponse(sp, short, request);
      const relay = message.get('RelayState');
      session = undefined;
      return html(res, page('Signed out of everything', `<p id="answer">${escape(relay)}, ${extract.response.inResponseTo ? 'answered' : 'not answered'}</p>`));
    }
    const parsed = await idp.parseLogoutRequest(sp, short, request);
    if (!session || parsed.extract.nameID !== session.name || parsed.extract.sessionIndex !== session.index) {
      throw new Error(`asked to end ${JSON.stringify(parsed.extract)}, and there is ${JSON.stringify(session)}`);
    }
    session = undefined;
    pass(res, idp.createLogoutResponse(sp, parsed, short, { relayState: message.get('RelayState') ?? '' }));
  }

  async function login(res, asked, binding, request) {
    // samlify refuses a request that is not signed as Oriel's metadata says.
    const parsed = await idp.parseLoginRequest(await provider(), binding, request);
    html(res, form('/login', { id: parsed.extract.request.id, relay: asked.get('RelayState') ?? '' }));
  }

  async function respond(res, asked) {
    const sp = await provider();
    const person = people[asked.get('user')];
    const now = new Date();
    const later = new Date(now.getTime() + 300_000).toISOString();
    const acs = sp.entityMeta.getAssertionConsumerService('post');
    const cls = asked.has('mfa') ? 'https://refeds.org/profile/mfa' : 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport';
    session = { name: `id-of-${asked.get('user')}`, index: `_${randomUUID()}` };
    const { context } = await idp.createLoginResponse(sp, { extract: { request: { id: asked.get('id') } } }, 'post', { email: person.email }, {
      customTagReplacement: (template) => {
        // Several values of one attribute are more than its templates know.
        const filled = template
          .replace('{AuthnStatement}', `<saml:AuthnStatement AuthnInstant="${now.toISOString()}" SessionIndex="${session.index}"><saml:AuthnContext><saml:AuthnContextClassRef>${cls}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>`)
          .replace('{AttributeStatement}', `<saml:AttributeStatement>${Object.entries({ email: [person.email], displayName: [person.name], groups: person.groups }).map(([name, values]) =>
            `<saml:Attribute Name="${name}">${values.map((v) => `<saml:AttributeValue>${escape(v)}</saml:AttributeValue>`).join('')}</saml:Attribute>`).join('')}</saml:AttributeStatement>`);
        return { id: '', context: samlify.SamlLib.replaceTagsByValue(filled, {
          ID: `_${randomUUID()}`, AssertionID: `_${randomUUID()}`, Destination: acs, Audience: sp.entityMeta.getEntityID(), SubjectRecipient: acs,
          Issuer: `${base}/metadata`, IssueInstant: now.toISOString(), StatusCode: 'urn:oasis:names:tc:SAML:2.0:status:Success',
          ConditionsNotBefore: now.toISOString(), ConditionsNotOnOrAfter: later, SubjectConfirmationDataNotOnOrAfter: later,
          NameIDFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent', NameID: session.name, InResponseTo: asked.get('id'),
        }) };
      },
    });
    html(res, page('Going on', `<form method="post" action="${escape(acs)}"><input type="hidden" name="SAMLResponse" value="${context}">
      <input type="hidden" name="RelayState" value="${escape(asked.get('relay'))}"><button>Go on</button></form>`));
  }

  server.on('request', async (req, res) => {
    try {
      const url = new URL(req.url, base);
      if (url.pathname === '/metadata') {
        res.writeHead(200, { 'Content-Type': 'application/samlmetadata+xml' });
        res.end(idp.getMetadata());
      } else if (url.pathname === '/sso' && req.method === 'GET') {
        const raw = url.search.slice(1).split('&').filter((p) => !p.startsWith('Signature=')).join('&');
        await login(res, url.searchParams, 'redirect', { query: Object.fromEntries(url.searchParams), octetString: raw });
      } else if (url.pathname === '/sso') {
        const asked = await body(req);
        await login(res, asked, 'post', { body: Object.fromEntries(asked) });
      } else if (url.pathname === '/portal' && req.method === 'GET') {
        html(res, page('Portal', `<p>${session ? `Signed in as ${escape(session.name)}` : 'Nobody is signed in'}</p><form method="post" action="/portal"><button>Sign out of everything</button></form>`));
      } else if (url.pathname === '/portal') {
        await tell(res);
      } else if (url.pathname === '/slo' && req.method === 'GET') {
        const raw = url.search.slice(1).split('&').filter((p) => !p.startsWith('Signature=')).join('&');
        await single(res, url.searchParams, { query: Object.fromEntries(url.searchParams), octetString: raw });
      } else if (url.pathname === '/slo') {
        const asked = await body(req);
        await single(res, asked, { body: Object.fromEntries(asked) });
      } else if (url.pathname === '/login') {
        await respond(res, await body(req));
      } else {
        html(res, page('Not found', ''), 404);
      }
    } catch (err) {
      html(res, page('Error', escape(err.stack ?? err)), 500);
    }
  });
  return { metadata: `${base}/metadata` };
}

console.log(JSON.stringify(await { oidc, saml }[kind]()));

// The test that started this holds the other end.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
