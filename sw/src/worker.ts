/**
 * The service worker: listeners only. What may carry a token is decided in `attach.ts`, which token in `session.ts`, what
 * a message asks for in `messages.ts`.
 *
 * It fails open: whatever goes wrong here, the request goes out as the browser made it, and the gateway decides.
 */

import { mayCarry, mayRepeat, rebuild, type WorkerConfig } from "./attach";
import { receive, type ToPage } from "./messages";
import { createSession } from "./session";
import { userKey } from "./store";

declare const self: ServiceWorkerGlobalScope & { readonly __GATEWAY__: WorkerConfig };

/** Service Workers, section 4.4.2: static routing, not in the type library yet. */
interface InstallEvent extends ExtendableEvent {
  addRoutes?(rules: unknown[]): Promise<void>;
}

const config = self.__GATEWAY__;
const { origin } = self.location;
const key = userKey(config.apiKey, config.appName);

async function tell(message: ToPage): Promise<void> {
  for (const client of await self.clients.matchAll({ includeUncontrolled: true })) client.postMessage(message);
}

const session = createSession({
  key,
  tokenUrl: `${config.tokenUrl}?key=${encodeURIComponent(config.apiKey)}`,
  onRefused: () => void tell({ type: "token-failed" }),
});

async function relay(event: FetchEvent): Promise<Response> {
  const { request } = event;
  let authenticated: Request | undefined;
  try {
    const carry = await session.carry(request.mode === "navigate", (work) => event.waitUntil(work));
    if (carry.token || carry.failed) authenticated = new Request(...rebuild(request, origin, carry));
  } catch {
    // IndexedDB out of order, a request that cannot be copied: the plain request is the answer.
  }
  if (!authenticated) return fetch(request);
  const answer = fetch(authenticated);
  // An image that is redirected to another origin: only the original mode can follow.
  return mayRepeat(request) ? answer.catch(() => fetch(request)) : answer;
}

self.addEventListener("install", (event: InstallEvent) => {
  self.skipWaiting();
  // Without this rule Chromium sends every navigation of a cold start ahead, without our header, and uses that answer.
  const rules = [{ condition: { requestMode: "navigate" }, source: "fetch-event" }];
  event.addRoutes?.(rules).catch(() => {});
});

const claim = (): Promise<void> => self.clients.claim();

self.addEventListener("activate", (event) => event.waitUntil(claim()));

self.addEventListener("message", (event) =>
  event.waitUntil(receive(event.data, event.ports[0], key, session, claim, tell)),
);

self.addEventListener("fetch", (event) => {
  if (mayCarry(event.request, origin, config)) event.respondWith(relay(event));
});
