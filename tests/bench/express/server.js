// What the vendor's page on service-worker sessions shows, as a proxy: Express checks each request's ID token with
// firebase-admin and hands it to the backend. Called as: node server.js PORT UPSTREAM KEYS PROJECT
import { readFileSync } from 'node:fs';
import { Agent } from 'node:http';

import express from 'express';
import { initializeApp } from 'firebase-admin/app';
import { getAuth } from 'firebase-admin/auth';
import { createProxyMiddleware } from 'http-proxy-middleware';

const [port, target, keys, projectId] = process.argv.slice(2);
const auth = getAuth(initializeApp({ projectId }));

// The certificates come from a file, as if they had been fetched: the benchmark has no network.
const fetcher = auth.idTokenVerifier.signatureVerifier.keyFetcher;
fetcher.publicKeys = JSON.parse(readFileSync(keys, 'utf8'));
fetcher.publicKeysExpireAt = Date.now() + 86_400_000;

const app = express();
app.disable('x-powered-by');
app.use(async (request, response, next) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  try {
    if (scheme !== 'Bearer') throw new Error('no token');
    const claims = await auth.verifyIdToken(token);
    const client = request.socket.remoteAddress;
    if ((claims.signInIpAddress ?? client) !== client) throw new Error('another address');
    request.headers['x-forwarded-user'] = claims.uid;
    delete request.headers.authorization;
    next();
  } catch {
    response.status(401).end();
  }
});
app.use(createProxyMiddleware({ target, agent: new Agent({ keepAlive: true, maxSockets: 256 }) }));
app.listen(Number(port), '127.0.0.1');
