/**
 * The service worker: listeners only. What may carry a token is decided in `attach.ts`, which token in `session.ts`, what
 * a message asks for in `messages.ts`.
 *
 * It fails open: whatever goes wrong here, the request goes out as the browser made it, and the gateway decides.
 *
 * It is a worker of its own, or a part of the app's, by `importScripts`. There it leaves to the app's listeners what those
 * have answered; `self.__GATEWAY_MANUAL__ = true` before the import leaves them everything, and the life cycle too.
 */

import type { Fetching, GatewaySession } from "./api";
import { mayCarry, mayRepeat, rebuild, type WorkerConfig } from "./attach";
import { createMirror } from "./cookie";
import { receive, type ToPage } from "./messages";
import type { CreateSession } from "./session";

declare const self: ServiceWorkerGlobalScope & {
  readonly __GATEWAY__: WorkerConfig;
  readonly __GATEWAY_MANUAL__?: boolean;
  gatewaySession: GatewaySession;
};

/** Service Workers, section 4.4.2: static routing, not in the type library yet. */
interface InstallEvent extends ExtendableEvent {
  addRoutes?(rules: unknown[]): Promise<void>;
}

export function start(createSession: CreateSession): void {
  const config = self.__GATEWAY__;
  const { origin } = self.location;
  const on = self.addEventListener;
  const claim = () => self.clients.claim();

  async function tell(type: ToPage["type"]): Promise<void> {
    for (const client of await self.clients.matchAll({ includeUncontrolled: true })) client.postMessage({ type });
  }

  const mirror = createMirror(config.cookie);
  const sessions = config.apps.map((app, index) =>
    createSession(
      app,
      (token) => {
        tell(`signed-${token ? "in" : "out"}`);
        // The cookie has room for one user: that of the first app.
        return index || mirror(token);
      },
      () => void tell("token-failed"),
    ),
  );

  const may = (request: Request): boolean => mayCarry(request, origin, config);

  async function authenticate(request: Request, event?: Fetching): Promise<Request> {
    try {
      for (const session of sessions) {
        const token = await session.carry(request.mode === "navigate", (work) => event?.waitUntil(work));
        if (token !== undefined) return new Request(...rebuild(request, origin, token));
      }
    } catch {
      // IndexedDB out of order, a request that cannot be copied: the plain request is the answer.
    }
    return request;
  }

  async function relay(event: Fetching): Promise<Response> {
    const { request } = event;
    const sent = await authenticate(request, event);
    const answer = fetch(sent);
    // An image that is redirected to another origin: only the original mode can follow.
    return sent !== request && mayRepeat(request) ? answer.catch(() => fetch(request)) : answer;
  }

  self.gatewaySession = {
    authenticate: async (request) => (may(request) ? authenticate(request) : request),
    handle: (event) => (may(event.request) ? relay(event) : undefined),
  };

  on("install", (event: InstallEvent) => {
    if (!self.__GATEWAY_MANUAL__) self.skipWaiting();
    // Without this rule Chromium sends every navigation of a cold start ahead, without our header, and uses that answer.
    const rules = [{ condition: { requestMode: "navigate" }, source: "fetch-event" }];
    event.addRoutes?.(rules).catch(() => {});
  });

  on("message", (event) => event.waitUntil(receive(event.data, event.ports[0], sessions, claim)));

  if (self.__GATEWAY_MANUAL__) return;

  on("activate", (event) => event.waitUntil(claim()));

  on("fetch", (event) => {
    if (!may(event.request)) return;
    try {
      let answer!: (response: Promise<Response>) => void;
      event.respondWith(
        new Promise((resolve) => {
          answer = resolve;
        }),
      );
      answer(relay(event));
    } catch {
      // Another listener of this worker has answered.
    }
  });
}
