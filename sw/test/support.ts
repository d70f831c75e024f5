/** Stand-ins for what only a browser has. */

import { vi } from "vitest";
import type { Asked, WorkerConfig } from "../src/attach";
import type { StoredUser } from "../src/store";

export const ORIGIN = "https://app.example";

export const CONFIG: WorkerConfig = {
  apiKey: "key",
  appName: "[DEFAULT]",
  tokenUrl: "https://token.example/v1/token",
  prefix: "/.gateway/",
  excluded: ["/service-worker.js", "/static/", "/health"],
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
    signal: new AbortController().signal,
    ...rest,
    headers: new Headers(headers),
  };
}

/** A stored user whose token has `left` milliseconds to live. */
export function storedUser(left: number, over: { uid?: string; token?: string; refresh?: string } = {}): StoredUser {
  const { uid = "ada", token = "stored-token", refresh = "refresh-1" } = over;
  return {
    uid,
    stsTokenManager: { accessToken: token, refreshToken: refresh, expirationTime: Date.now() + left },
  };
}

/** An answer of the token service. */
export const renewed = (token: string, refresh = "refresh-1"): Response =>
  Response.json({ id_token: token, access_token: token, refresh_token: refresh, expires_in: "3600", user_id: "ada" });

/** The end of a message channel that remembers what it was given. */
export const port = () => ({ postMessage: vi.fn<(message: unknown) => void>() });
