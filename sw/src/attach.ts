/**
 * Which requests may carry the ID token, and how a request is rebuilt so that it does.
 *
 * The rules this file obeys:
 *
 * 1. Only requests to our own origin are touched. A foreign one is left to the browser entirely.
 * 2. A request that has its own `Authorization`, or that asked for `credentials: "omit"`, keeps what its author chose.
 * 3. A navigation that changes something (a form) and was not started by a page of ours is left to the browser. A worker
 *    that relays it would rewrite `Origin` and `Sec-Fetch-Site` to ours and so defeat the server's defence against
 *    cross-site request forgery (whatwg/fetch#1321).
 * 4. A body is never read, cloned or buffered: it moves with the `Request` object (Fetch, section 5.4, Request constructor).
 * 5. Any `init` resets referrer and referrer policy, so both are passed again. A foreign referrer cannot be passed; then
 *    there is none, and `site` in our own header says where the request came from.
 * 6. `no-cors` silently drops `Authorization`, so such a request becomes `same-origin`. `cors` keeps its mode: a redirect
 *    to a foreign origin then works and the browser removes `Authorization` on the way (Fetch, HTTP-redirect fetch).
 *    A header of ours would survive that redirect and make the foreign origin refuse it, so a `cors` request gets none,
 *    unless it has to tell of a failure. Its `Sec-Fetch-Mode` stays true anyway.
 *
 * Everything here is pure: requests go in, values come out.
 */

/** What the gateway writes in front of the bundle, as `self.__GATEWAY__`. */
export interface WorkerConfig {
  readonly apiKey: string;
  /** Name of the Firebase app whose user is meant; the SDK's default is `[DEFAULT]`. */
  readonly appName: string;
  /** Where a refresh token becomes an ID token: `…/v1/token`, without query. */
  readonly tokenUrl: string;
  /** The gateway's reserved path prefix, with a slash at both ends. */
  readonly prefix: string;
  /** Paths that need no token: exact, or everything below when the entry ends in a slash. */
  readonly excluded: readonly string[];
}

/** The parts of a `Request` that decide. */
export type Asked = Pick<
  Request,
  | "url"
  | "method"
  | "mode"
  | "destination"
  | "credentials"
  | "cache"
  | "redirect"
  | "headers"
  | "referrer"
  | "referrerPolicy"
  | "signal"
>;

/** `token`: what to send; `failed`: there is a stored session and it could not be renewed. Neither: nobody is signed in. */
export interface Carry {
  readonly token?: string;
  readonly failed?: boolean;
}

/** Arguments of the `Request` constructor. */
export type Rebuilt<T> = [input: T | string, init: RequestInit];

/** The gateway's own pages and files, below its prefix: never behind a session. */
const OPEN_BELOW_PREFIX = /^(log(in|out)$|assets\/)/;

const isSafe = (method: string): boolean => method === "GET" || method === "HEAD";

const isOurs = (url: string, origin: string): boolean => url.startsWith(`${origin}/`);

/** Whether a request that failed may be sent again: it changes nothing and has no body that could be used up. */
export const mayRepeat = (request: Asked): boolean => request.mode === "no-cors" && isSafe(request.method);

const isExcluded = (path: string, { prefix, excluded }: WorkerConfig): boolean =>
  (path.startsWith(prefix) && OPEN_BELOW_PREFIX.test(path.slice(prefix.length))) ||
  excluded.some((entry) => path === entry || (entry.endsWith("/") && path.startsWith(entry)));

/** Whether the worker takes this request over. Synchronous, because `respondWith` has to be called at once or not at all. */
export function mayCarry(request: Asked, origin: string, config: WorkerConfig): boolean {
  return (
    isOurs(request.url, origin) &&
    request.credentials !== "omit" &&
    !request.headers.has("authorization") &&
    (request.mode !== "navigate" || isSafe(request.method) || isOurs(request.referrer, origin)) &&
    !isExcluded(new URL(request.url).pathname, config)
  );
}

/** The value of `X-Gateway-Fetch`: what the request was before the worker took it over. */
export function describe({ mode, destination, referrer }: Asked, origin: string, failed?: boolean): string {
  const site = isOurs(referrer, origin) ? "same-origin" : referrer.startsWith("http") ? "cross-site" : "none";
  return `mode=${mode}, dest=${destination || "empty"}, site=${site}${failed ? ", token=failed" : ""}`;
}

/**
 * The request again, with the token. `new Request(...rebuild(...))` is what goes out.
 *
 * A GET navigation is built from its address instead of the object: Chromium answers a copy of a navigation from its
 * own early, anonymous request (w3c/ServiceWorker#1756) where the route set at installation is not supported. Its
 * redirect mode is `manual`: the next hop comes back to the worker and is judged anew.
 */
export function rebuild<T extends Asked>(request: T, origin: string, { token, failed }: Carry): Rebuilt<T> {
  const { url, method, mode, cache, redirect, referrer, referrerPolicy, signal } = request;
  const headers = new Headers(request.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  if (failed || mode !== "cors") headers.set("x-gateway-fetch", describe(request, origin, failed));
  return [
    mode === "navigate" && isSafe(method) ? url : request,
    {
      headers,
      mode: mode === "cors" ? mode : "same-origin",
      cache,
      redirect,
      referrer: isOurs(referrer, origin) ? referrer : "",
      referrerPolicy,
      signal,
    },
  ];
}
