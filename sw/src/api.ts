/** What an app's own worker finds as `self.gatewaySession` after it has imported ours. */

/** The parts of a `FetchEvent` that matter here. */
export interface Fetching {
  readonly request: Request;
  waitUntil(work: Promise<unknown>): void;
}

export interface GatewaySession {
  /** The request with the token, or itself where there is none to add. Never rejects. */
  authenticate(request: Request): Promise<Request>;
  /** The answer to a request that may carry a token, for `event.respondWith`; undefined for one that may not. */
  handle(event: Fetching): Promise<Response> | undefined;
}
