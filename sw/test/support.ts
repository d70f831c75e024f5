/** Stand-ins for what only a browser has. */

import { vi } from "vitest";
import type { Asked, WorkerConfig } from "../src/attach";
import type { StoredUser } from "../src/store";

export const ORIGIN = "https://app.example";

export const KEY = "firebase:authUser:key:[DEFAULT]";

export const CONFIG: WorkerConfig = {
  apps: [{ key: KEY, tokenUrl: "https://token.example/v1/token?key=key" }],
  excluded: ["/service-worker.js", "/.gateway/login", "/.gateway/logout", "/.gateway/assets/", "/static/", "/health"],
};

/** A request as a fetch event carries it. Node's own `Request` knows neither navigations nor destinations. */
export function asked(over: Partial<Asked> & { path?: string } = {}): Asked {
  const { path = "/page", headers = {}, ...rest } = over;
  return {
    url: `${ORIGIN}${path}`,
    method: "GET",
    mode: "cors",
    destination: "",
    credentials: "same-origin",
    cache: "default",
    redirect: "follow",
    referrer: `${ORIGIN}/before`,
    referrerPolicy: "",
    ...rest,
    headers: new Headers(headers),
  };
}

/** A stored user whose token has `left` milliseconds to live. */
export function storedUser(
  left: number,
  over: { uid?: string; token?: string; refresh?: string; tenantId?: string } = {},
): StoredUser {
  const { uid = "ada", token = "stored-token", refresh = "refresh-1", ...rest } = over;
  return {
    uid,
    ...rest,
    stsTokenManager: { accessToken: token, refreshToken: refresh, expirationTime: Date.now() + left },
  };
}

/** An answer of the token service. */
export const renewed = (token: string, refresh = "refresh-1"): Response =>
  Response.json({ id_token: token, access_token: token, refresh_token: refresh, expires_in: "3600", user_id: "ada" });

/** The end of a message channel that remembers what it was given. */
export const port = () => ({ postMessage: vi.fn<(message: unknown) => void>() });

const DATABASE = "firebaseLocalStorageDb";
const STORE = "firebaseLocalStorage";

/** Writes (or, with undefined, removes) a record like the SDK does, from another page. */
export async function write(value: unknown, key = KEY): Promise<void> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "fbase_key" });
    opening.onsuccess = () => resolve(opening.result);
  });
  const transaction = database.transaction(STORE, "readwrite");
  if (value === undefined) transaction.objectStore(STORE).delete(key);
  else transaction.objectStore(STORE).put({ fbase_key: key, value });
  await new Promise<void>((resolve) => {
    transaction.oncomplete = () => resolve();
  });
  database.close();
}

/** A moment passes for the clock, not for the test. */
export function later(milliseconds: number): void {
  const now = Date.now() + milliseconds;
  vi.spyOn(Date, "now").mockImplementation(() => now);
}

/** Web Locks, one at a time under each name. Node has none before version 24.5. */
export function fakeLocks() {
  const turns = new Map<string, Promise<unknown>>();
  return {
    request: vi.fn((name: string, work: () => Promise<unknown>) => {
      const turn = (turns.get(name) ?? Promise.resolve()).then(work);
      turns.set(
        name,
        turn.catch(() => {}),
      );
      return turn;
    }),
  };
}
