/**
 * The ID token of whoever is signed in: read from where the Firebase JS SDK keeps it, renewed through the token service.
 *
 * The rules this file obeys:
 *
 * 1. "Nobody is signed in" is never remembered, and a remembered token is looked up again when the last look is older
 *    than `LOOK_AGAIN_MS`, for a page that the worker does not control cannot tell it of a sign-out. Navigations always look.
 * 2. After `forget()` nothing that was read or renewed before it is used: the SDK waits for that before `signOut()` resolves.
 * 3. An expired token is never sent. From `RENEW_AHEAD_MS` before expiry it is renewed in the background.
 * 4. One call to the token service at a time, however many requests wait, and none for `BACK_OFF_MS` after a failure.
 *    A refresh token that was refused is not tried again.
 * 5. The stored record is never deleted here: signing out is the SDK's business.
 */

import type { Carry } from "./attach";
import { readUser, replaceTokens, type StoredUser } from "./store";

/** Milliseconds for which a look into IndexedDB counts as fresh. */
export const LOOK_AGAIN_MS = 250;
/** Milliseconds before expiry at which renewal starts; the SDK's own choice is the same. */
export const RENEW_AHEAD_MS = 5 * 60_000;
/** Milliseconds that a token must have left to be sent without renewing: the way to the gateway takes time. */
export const IN_FLIGHT_MS = 5_000;
/** Milliseconds without another try after the token service could not be reached. */
export const BACK_OFF_MS = 2_000;
/** Longest wait for the token service, in milliseconds. */
export const RENEW_DEADLINE_MS = 10_000;

/** The last moment that a date can hold, in milliseconds since 1970 (ECMAScript, time values). */
const LAST_MS = 8.64e15;

/** HTTP statuses that say "no" and not "later": 4xx except Request Timeout (408) and Too Many Requests (429). */
const REFUSED = /^4(?!08|29)/;

export interface SessionOptions {
  readonly key: string;
  /** Token service, with the API key. */
  readonly tokenUrl: string;
  /** Called once for each session that the token service refused. */
  readonly onRefused: () => undefined;
}

export interface Session {
  /** Forgets what is remembered, because the record has changed. */
  forget(): void;
  /** Whether somebody is signed in, by the record. */
  exists(): Promise<boolean>;
  /**
   * What a request that starts now may carry.
   *
   * `fresh`: look at the record even if it was just read. `extend`: keeps the worker alive for work in the background.
   * Rejects when IndexedDB fails.
   */
  carry(fresh: boolean, extend: (work: Promise<unknown>) => void): Promise<Carry>;
}

type Found = StoredUser | undefined;

/** A closure and not a class: the names of its state cost nothing in the bundle. */
export function createSession({ key, tokenUrl, onRefused }: SessionOptions): Session {
  let remembered: Found;
  let lookedAt = 0;
  /** Counts `forget()`: an answer that was asked for in an earlier epoch is stale. */
  let epoch = 0;
  /** The last renewal. It answers for its refresh token until `until`, in milliseconds since 1970, whatever came of it. */
  let renewal: { of: string; until: number; work: Promise<Found> } | undefined;

  async function look(fresh: boolean): Promise<Found> {
    const started = Date.now();
    if (!fresh && remembered && started - lookedAt < LOOK_AGAIN_MS) return remembered;
    const asked = epoch;
    const user = await readUser(key);
    if (asked !== epoch) return look(true);
    lookedAt = started;
    remembered = user;
    return user;
  }

  /** The user with new tokens, or undefined when there are none now. Never rejects. */
  function renew(user: StoredUser): Promise<Found> {
    const of = user.stsTokenManager.refreshToken;
    if (renewal?.of !== of || renewal.until < Date.now()) {
      const mine = { of, until: LAST_MS, work: ask() };
      renewal = mine;
      /** One call of the token service (`/v1/token`, grant type `refresh_token`). */
      async function ask(): Promise<Found> {
        try {
          const response = await fetch(tokenUrl, {
            method: "POST",
            body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: of }),
            signal: AbortSignal.timeout(RENEW_DEADLINE_MS),
          });
          if (REFUSED.test(`${response.status}`)) return onRefused();
          const { id_token: accessToken, refresh_token: refreshToken, expires_in } = await response.json();
          const stsTokenManager = { refreshToken, accessToken, expirationTime: Date.now() + expires_in * 1000 };
          if (accessToken && (await replaceTokens(key, user, stsTokenManager))) {
            mine.until = lookedAt = 0;
            return { ...user, stsTokenManager };
          }
        } catch {
          // Not reached, too slow, or an answer that is not the token service's: try again later.
        }
        mine.until = Date.now() + BACK_OFF_MS;
      }
    }
    return renewal.work;
  }

  async function carry(fresh: boolean, extend: (work: Promise<unknown>) => void): Promise<Carry> {
    let user = await look(fresh);
    if (!user) return {};
    const left = user.stsTokenManager.expirationTime - Date.now();
    if (left < RENEW_AHEAD_MS) {
      const asked = epoch;
      const work = renew(user);
      if (left > IN_FLIGHT_MS) extend(work);
      else {
        user = (await work) ?? (await look(true));
        // Someone signed out or in while we waited: judge anew by the record.
        if (asked !== epoch) return carry(true, extend);
        if (!user) return {};
      }
    }
    const { accessToken, expirationTime } = user.stsTokenManager;
    return expirationTime > Date.now() ? { token: accessToken } : { failed: true };
  }

  return {
    forget() {
      epoch++;
      remembered = undefined;
    },
    exists: async () => !!(await look(true)),
    carry,
  };
}
