// An OpenID provider that is not ours: `oidc-provider`, on loopback, with TLS.
//
// Owns its configuration and the exchange of its keys. Each line on standard input is a private key as a JWK: the
// provider then has this key and no other, and prints its id when that is so.
//
// Two grants give tokens to clients without a person:
//   urn:test:identity   an ID token whose audience is the client's name, as OpenID Connect has it
//   client_credentials  a JWT access token (RFC 9068) for the audience that the resource indicator names
// The form field `claims` (JSON) holds further claims; a real CI system would know these itself.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

const [issuer, port, certificate, key, ...audiences] = process.argv.slice(2);
const secret = process.env.CLIENT_SECRET;
const GRANT = 'urn:test:identity';
const LIFETIME_SECONDS = 300;

function claimsOf(context) {
  return JSON.parse(context.oidc.body?.claims ?? '{}');
}

function made(jwk) {
  const algorithm = jwk.alg;
  const provider = new Provider(issuer, {
    jwks: { keys: [jwk] },
    cookies: { keys: [secret] },
    clients: audiences.map((audience) => ({
      client_id: audience,
      client_secret: secret,
      grant_types: ['client_credentials', GRANT],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: algorithm,
    })),
    clientDefaults: { id_token_signed_response_alg: algorithm },
    enabledJWA: { idTokenSigningAlgValues: [algorithm] },
    claims: { openid: ['sub'] },
    ttl: { IdToken: LIFETIME_SECONDS, ClientCredentials: LIFETIME_SECONDS },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          scope: '',
          audience: resource.replace(/^urn:audience:/, ''),
          accessTokenTTL: LIFETIME_SECONDS,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithm } },
        }),
      },
    },
    extraTokenClaims: claimsOf,
  });
  provider.registerGrantType(GRANT, async (context) => {
    const { sub, ...others } = claimsOf(context);
    const token = new provider.IdToken({ sub }, { ctx: context });
    token.scope = 'openid';
    for (const [name, value] of Object.entries(others)) token.set(name, value);
    context.body = { id_token: await token.issue({ use: 'idtoken' }) };
  }, ['claims']);
  return provider.callback();
}

function rotate(line) {
  const jwk = JSON.parse(line);
  answer = made(jwk);
  process.stdout.write(`${JSON.stringify({ kid: jwk.kid })}\n`);
}

let answer;
const tls = { cert: readFileSync(certificate), key: readFileSync(key) };
createServer(tls, (request, response) => answer(request, response)).listen(Number(port), '127.0.0.1', () => {
  const lines = createInterface({ input: process.stdin });
  lines.on('line', rotate);
  lines.on('close', () => process.exit(0));
});
