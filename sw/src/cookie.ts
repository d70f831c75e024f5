/**
 * Keeps the session cookie in step with the stored session, for the requests that no worker sees (WebSocket handshakes,
 * downloads, a hard reload). The worker cannot read the cookie; it only tells the gateway what has changed, in order.
 */

/** Longest wait for the gateway, in milliseconds: requests wait for it, and the SDK waits three seconds at most. */
export const COOKIE_DEADLINE_MS = 1_000;

/** A function that is told the new token, or an empty string after a sign-out. What it returns never rejects. */
export function createMirror(url: string | undefined): (token: string) => Promise<unknown> {
  let turn: Promise<unknown> = Promise.resolve();
  return (token) => {
    if (url) {
      const init = token ? { method: "POST", headers: { authorization: `Bearer ${token}` } } : { method: "DELETE" };
      turn = turn.then(() => fetch(url, { ...init, signal: AbortSignal.timeout(COOKIE_DEADLINE_MS) })).catch(() => {});
    }
    return turn;
  };
}
