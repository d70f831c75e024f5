/**
 * The page helper, `/.gateway/session.js`: what an app's own pages need to know of the session. No dependency.
 *
 * The rules this file obeys:
 *
 * 1. It never shows a token, neither to the page nor to anybody else: the token goes to the gateway and nowhere.
 * 2. After `signOut()` resolves, no request of this browser carries the session any more, whoever controls the page.
 * 3. A page that comes out of the back/forward cache after the user has changed is loaded anew.
 *
 * `static/session.d.ts` says what each function promises; a test compares the two.
 */

import type { Listener, SessionEvent, SignOutOptions, User, UserOptions } from "../../static/session";
import type { ToPage } from "./messages";
import { takeControl, tellWorker } from "./page/control";
import { deleteUser, goodToken, readUser } from "./store";

/** What the gateway writes in front of the bundle. */
export interface HelperConfig {
  /** The worker's script, or empty when this site has switched its worker off. */
  readonly workerUrl: string;
  /** The gateway's reserved path prefix, with a slash at both ends. */
  readonly prefix: string;
  /** Keys of the SDK's records, most preferred first. */
  readonly keys: readonly string[];
  /** Whether there is a session cookie to remove. */
  readonly cookie: boolean;
}

declare const __GATEWAY__: HelperConfig;

/** Milliseconds for which an answer about the user is used again. */
export const REMEMBER_MS = 5_000;
/** Longest wait for the gateway to hear of a sign-out, in milliseconds. The browser forgets in any case. */
export const TELL_DEADLINE_MS = 2_000;

/** Between two questions of a page that keeps its live connections, in milliseconds. */
export const KEEP_ALIVE_MS = 120_000;

const { workerUrl, prefix, keys, cookie } = __GATEWAY__;
const workers = workerUrl ? navigator.serviceWorker : undefined;

/** The stored user; without one, or without storage, undefined. */
async function stored() {
  for (const key of keys) {
    const user = await readUser(key).catch(() => undefined);
    if (user) return user;
  }
  return undefined;
}

const uid = async () => (await stored())?.uid;

let known = uid();
let answer: { until: number; user: Promise<User | null> } | undefined;
const listeners = new Set<readonly [SessionEvent, Listener]>();

const emit = (type: SessionEvent) => {
  for (const [wanted, listener] of listeners) if (wanted === type) listener();
};

/** Whether somebody else than before is signed in; `known` is up to date afterwards. */
async function hasChanged(): Promise<boolean> {
  // Swapped at once, so that two who ask together are not both told.
  const before = known;
  const now = uid();
  known = now;
  const changed = (await before) !== (await now);
  if (changed) answer = undefined;
  return changed;
}

async function notice(): Promise<void> {
  if (await hasChanged()) emit((await known) ? "userchanged" : "signedout");
}

workers?.addEventListener("message", ({ data }: MessageEvent<ToPage>) => {
  const type = data?.type;
  if (type === "token-failed") emit("tokenfailed");
  if (type === "signed-in" || type === "signed-out") notice();
});
workers?.startMessages();

// Not by hasChanged(): a page that comes back also becomes visible, and whichever is asked first takes the news.
let left = known;
addEventListener("pagehide", () => {
  left = known;
});
addEventListener("pageshow", async ({ persisted }) => {
  if (persisted && (await left) !== (await uid())) location.reload();
});
// A tab that the worker does not control signs out without telling anybody.
addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") notice();
});

let controlled: Promise<void> | undefined;

export async function register(): Promise<void> {
  await workers?.register(workerUrl, { scope: "/", updateViaCache: "none" });
}

export function ready(): Promise<void> {
  if (!workers) return Promise.resolve();
  controlled ??= takeControl(workers, workerUrl).catch((error) => {
    controlled = undefined;
    throw error;
  });
  return controlled;
}

export function user({ fresh }: UserOptions = {}): Promise<User | null> {
  if (fresh || !answer || answer.until < Date.now()) {
    const asked = ask();
    // A failure is told to whoever asked and not remembered.
    asked.catch(() => {
      if (answer?.user === asked) answer = undefined;
    });
    answer = { until: Date.now() + REMEMBER_MS, user: asked };
  }
  return answer.user;
}

async function ask(): Promise<User | null> {
  const response = await fetch(`${prefix}userinfo`, { cache: "no-store", headers: { accept: "application/json" } });
  if (response.ok) return response.json();
  if (response.status === 401) return null;
  throw new Error(`The gateway cannot tell who is signed in (status ${response.status}).`);
}

export function signIn(returnTo = location.pathname + location.search): void {
  location.assign(`${prefix}login?rd=${encodeURIComponent(returnTo)}`);
}

export async function signOut({ everywhere, returnTo }: SignOutOptions = {}): Promise<void> {
  const token = goodToken(await stored());
  const call = (name: string, init: RequestInit) =>
    fetch(prefix + name, {
      ...init,
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(TELL_DEADLINE_MS),
    });
  const logout = (scope: string) => call("logout", { method: "POST", body: new URLSearchParams({ scope }) });
  if (everywhere) {
    // First, and not in passing: whoever asks for this must know when it did not happen, and be able to try again.
    const response = await logout("everywhere");
    if (!response.ok) throw new Error(`The gateway could not end the other sessions (status ${response.status}).`);
  }
  // A session that only the cookie carries: the worker removes that as soon as it hears of the sign-out.
  if (!everywhere && !token) await logout("device").catch(() => {});
  for (const key of keys) {
    await deleteUser(key);
    if (workers) await tellWorker(workers, key);
  }
  await Promise.allSettled([!everywhere && token && logout("device"), cookie && call("session", { method: "DELETE" })]);
  await notice();
  if (returnTo) location.replace(returnTo);
}

/** The worker renews a token five minutes ahead: twice in that time at least it gets a request to do so. */
export function keepAlive(): () => void {
  const asking = setInterval(() => user({ fresh: true }).catch(() => {}), KEEP_ALIVE_MS);
  return () => clearInterval(asking);
}

export function on(type: SessionEvent, listener: Listener): () => void {
  const entry = [type, listener] as const;
  listeners.add(entry);
  return () => void listeners.delete(entry);
}
