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

/** One Firebase app whose signed-in user is meant. */
export interface WorkerApp {
  /** Where the SDK keeps the user: `firebase:authUser:<API key>:<app name>`. */
  readonly key: string;
  /** Where a refresh token becomes an ID token, with the API key as its query. */
  readonly tokenUrl: string;
  /** Tenants whose users count; without it any user does. */
  readonly tenants?: readonly string[];
}

/** What the gateway writes in front of the bundle, as `self.__GATEWAY__`. */
export interface WorkerConfig {
  /** In order of preference: the first with a user decides. */
  readonly apps: readonly WorkerApp[];
  /** Paths that need no token: exact, or everything below when the entry ends in a slash. */
  readonly excluded: readonly string[];
  /** Where the session cookie is set and removed; without it there is none to keep in step. */
  readonly cookie?: string;
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
>;

/** The token to send. Empty: there is a stored session and it could not be renewed. Undefined: nobody is signed in. */
export type Carry = string | undefined;

/** Arguments of the `Request` constructor. */
export type Rebuilt<T> = [input: T | string, init: RequestInit];

const isSafe = (method: string): boolean => method === "GET" || method === "HEAD";

const isOurs = (url: string, origin: string): boolean => url.startsWith(`${origin}/`);

/** Whether a request that failed may be sent again: it changes nothing and has no body that could be used up. */
export const mayRepeat = (request: Asked): boolean => request.mode === "no-cors" && isSafe(request.method);

/** Whether the worker takes this request over. Synchronous, because `respondWith` has to be called at once or not at all. */
export function mayCarry(request: Asked, origin: string, { excluded }: Pick<WorkerConfig, "excluded">): boolean {
  const path = new URL(request.url).pathname;
  return (
    isOurs(request.url, origin) &&
    request.credentials !== "omit" &&
    !request.headers.has("authorization") &&
    (request.mode !== "navigate" || isSafe(request.method) || isOurs(request.referrer, origin)) &&
    !excluded.some((entry) => path === entry || (entry.endsWith("/") && path.startsWith(entry)))
  );
}

/** The value of `X-Gateway-Fetch`: what the request was before the worker took it over. */
export function describe({ mode, destination, referrer }: Asked, origin: string, token: string): string {
  const site = isOurs(referrer, origin) ? "same-origin" : referrer.startsWith("http") ? "cross-site" : "none";
  return `mode=${mode}, dest=${destination || "empty"}, site=${site}${token ? "" : ", token=failed"}`;
}

/**
 * The request again, with the token, or with the news that there is none. `new Request(...rebuild(...))` is what goes out.
 *
 * A GET navigation is built from its address instead of the object: Chromium answers a copy of a navigation from its
 * own early, anonymous request (w3c/ServiceWorker#1756) where the route set at installation is not supported. Its
 * redirect mode is `manual`: the next hop comes back to the worker and is judged anew.
 */
export function rebuild<T extends Asked>(request: T, origin: string, token: string): Rebuilt<T> {
  const { url, method, mode, cache, redirect, referrer, referrerPolicy } = request;
  const headers = new Headers(request.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  if (mode !== "cors" || !token) headers.set("x-gateway-fetch", describe(request, origin, token));
  return [
    mode === "navigate" && isSafe(method) ? url : request,
    {
      headers,
      mode: mode === "cors" ? mode : "same-origin",
      cache,
      redirect,
      referrer: isOurs(referrer, origin) ? referrer : "",
      referrerPolicy,
    },
  ];
}
