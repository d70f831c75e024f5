/**
 * The ID token of whoever is signed in: read from where the Firebase JS SDK keeps it, renewed through the token service.
 *
 * The rules this file obeys:
 *
 * 1. "Nobody is signed in" is never remembered, and a remembered token is looked up again when the last look is older
 *    than `LOOK_AGAIN_MS`, for a page that the worker does not control cannot tell it of a sign-out. Navigations always look.
 * 2. After `changed()` nothing that was read before it is used: the SDK waits for that before `signOut()` resolves.
 * 3. An expired token is never sent. From `RENEW_AHEAD_MS` before expiry it is renewed in the background.
 * 4. One call to the token service at a time, however many requests, tabs and workers wait (Web Locks), and none for
 *    `BACK_OFF_MS` after a failure. A refresh token that was refused is not tried again.
 * 5. The stored record is never deleted here: signing out is the SDK's business.
 */

import type { Carry, WorkerApp } from "./attach";
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

/** Longest that a renewal keeps others from trying, in milliseconds: it may have to wait for another worker's. */
const RENEWING_MS = 2 * RENEW_DEADLINE_MS;
/** Milliseconds since 1970 that no clock reaches. */
const NEVER = 1e99;

/** HTTP statuses that say "no" and not "later": 4xx except Request Timeout (408) and Too Many Requests (429). */
const REFUSED = /^4(?!08|29)/;

export interface Session {
  /** The key of the record that this session lives in. */
  readonly key: string;
  /** The record has changed: what is remembered is forgotten. Resolves when `onChange` is through with what is there now. */
  changed(): Promise<unknown>;
  /**
   * What a request that starts now may carry.
   *
   * `fresh`: look at the record even if it was just read. `extend`: keeps the worker alive for work in the background.
   * Rejects when IndexedDB fails.
   */
  carry(fresh: boolean, extend: (work: Promise<unknown>) => void): Promise<Carry>;
}

/**
 * `onChange` is called, and waited for, when another token than before is found: with the token, or with an empty string
 * when the user has gone. Not for what a worker finds when it starts. `onRefused`: the token service refused this session.
 */
export type CreateSession = (app: WorkerApp, onChange: (token: string) => unknown, onRefused: () => void) => Session;

/** A closure and not a class: the names of its state cost nothing in the bundle. */
export const createSession: CreateSession = ({ key, tokenUrl, tenants }, onChange, onRefused) => {
  let remembered: StoredUser | undefined;
  let lookedAt = 0;
  /** Counts `changed()`: an answer that was asked for in an earlier epoch is stale. */
  let epoch = 0;
  /** The token found last; empty when there was none, undefined when nobody has looked. */
  let known: string | undefined;
  /** The last renewal. It answers for its refresh token until `until`, in milliseconds since 1970, whatever came of it. */
  let renewal: { of: string; until: number; work: Promise<void> } | undefined;

  async function look(fresh?: boolean): Promise<StoredUser | undefined> {
    const started = Date.now();
    if (!fresh && remembered && started - lookedAt < LOOK_AGAIN_MS) return remembered;
    const asked = epoch;
    const user = await readUser(key, tenants);
    if (asked === epoch) {
      const before = known;
      lookedAt = started;
      remembered = user;
      known = user?.stsTokenManager.accessToken ?? "";
      if (before !== undefined && before !== known) await onChange(known);
    }
    return asked === epoch ? user : look(true);
  }

  /** Resolves when the refresh token `of` has been exchanged, or could not be. */
  function renew(of: string): Promise<void> {
    if (renewal?.of !== of || renewal.until < Date.now()) {
      /** One call of the token service (`/v1/token`, grant type `refresh_token`), unless another worker was faster. */
      const ask = async (): Promise<void> => {
        try {
          const now = (await look(true))?.stsTokenManager;
          if (now?.refreshToken === of && now.expirationTime - Date.now() < RENEW_AHEAD_MS) {
            const response = await fetch(tokenUrl, {
              method: "POST",
              body: new URLSearchParams({ grant_type: "refresh_token", refresh_token: of }),
              signal: AbortSignal.timeout(RENEW_DEADLINE_MS),
            });
            if (REFUSED.test(`${response.status}`)) {
              mine.until = NEVER;
              return onRefused();
            }
            const { id_token: accessToken, refresh_token: refreshToken, expires_in } = await response.json();
            const expirationTime = Date.now() + expires_in * 1000;
            if (!accessToken) throw 0;
            await replaceTokens(key, of, { refreshToken, accessToken, expirationTime });
            await look(true);
          }
          mine.until = 0;
        } catch {
          // Not reached, too slow, or an answer that is not the token service's: try again later.
          mine.until = Date.now() + BACK_OFF_MS;
        }
      };
      const mine = { of, until: Date.now() + RENEWING_MS, work: Promise.resolve() };
      renewal = mine;
      mine.work = navigator.locks?.request(key, ask) ?? ask();
    }
    return renewal.work;
  }

  return {
    key,
    changed() {
      epoch++;
      remembered = undefined;
      // A worker that has just started does not know what there was: whatever it finds is news.
      known ??= "?";
      return look();
    },
    async carry(fresh, extend) {
      let user = await look(fresh);
      if (user) {
        const left = user.stsTokenManager.expirationTime - Date.now();
        if (left < RENEW_AHEAD_MS) {
          const work = renew(user.stsTokenManager.refreshToken);
          if (left > IN_FLIGHT_MS) extend(work);
          else {
            await work;
            // Someone may have signed out or in while we waited.
            user = await look(true);
          }
        }
      }
      const tokens = user?.stsTokenManager;
      return tokens && (tokens.expirationTime > Date.now() ? tokens.accessToken : "");
    },
  };
};
