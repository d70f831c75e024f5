/**
 * What is served in place of the worker when a site switches it off. It removes itself and nothing else: pages stay as
 * they are, and their requests go out as the browser makes them.
 *
 * An app's own worker that imports it stays registered, and finds a session that adds nothing.
 */

import type { GatewaySession } from "./api";

/** What the gateway writes in front of the bundle. */
export interface OffConfig {
  /** The worker's own path: only a worker that was registered from there is ours to remove. */
  readonly path: string;
}

declare const self: ServiceWorkerGlobalScope & { readonly __GATEWAY__: OffConfig; gatewaySession: GatewaySession };

self.gatewaySession = { authenticate: async (request) => request, handle: () => undefined };

if (self.location.pathname === self.__GATEWAY__.path) {
  self.addEventListener("install", () => self.skipWaiting());
  self.addEventListener("activate", (event) => event.waitUntil(self.registration.unregister()));
}
