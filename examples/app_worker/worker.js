// An app's own service worker, here with Workbox: cached assets and an API that works offline, plus the session.
import { precacheAndRoute } from "workbox-precaching";
import { registerRoute } from "workbox-routing";
import { NetworkFirst } from "workbox-strategies";

precacheAndRoute(self.__WB_MANIFEST);

// What a worker fetches passes no worker, so the token is added here.
const session = { requestWillFetch: ({ request }) => self.gatewaySession.authenticate(request) };
registerRoute(({ url }) => url.pathname.startsWith("/api/"), new NetworkFirst({ cacheName: "api", plugins: [session] }));

// Last: everything that the routes above have not answered goes out with the session.
importScripts("/.gateway/session-worker.js");
