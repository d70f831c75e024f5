/**
 * The same session through the Firebase JS SDK, for sites that do not want to depend on the SDK's private record.
 *
 * The rules of `session.ts` hold, with what the SDK makes of them: each time it starts it asks the account service who
 * the user is, it notices a sign-out that nobody told it of within 800 ms, it does not wait for other workers, and it
 * removes the record of a user whom the account service no longer knows.
 */

import { deleteApp, type FirebaseApp, initializeApp } from "@firebase/app";
import {
  type Auth,
  connectAuthEmulator,
  indexedDBLocalPersistence,
  initializeAuth,
  type User,
} from "@firebase/auth/web-extension";
import { BACK_OFF_MS, type CreateSession, IN_FLIGHT_MS, RENEW_AHEAD_MS } from "../session";
import type { Tokens } from "../store";

/** Codes of the SDK that say "later" and not "no". */
const LATER = /\/(network-request-failed|too-many-requests|timeout|internal-error)$/;
/** Host of Google's token service. Any other is an emulator, for the SDK can be pointed at nothing else. */
const GOOGLE = "securetoken.googleapis.com";

/** What the SDK holds now, without letting it ask for more. */
const tokensOf = (user: User): Tokens => (user.toJSON() as { stsTokenManager: Tokens }).stsTokenManager;

export const createSession: CreateSession = ({ key, tokenUrl, tenants }, onChange, onRefused) => {
  // firebase:authUser:<API key>:<app name>; the name may contain colons.
  const [, , apiKey = "", ...name] = key.split(":");
  let app: FirebaseApp | undefined;
  let auth: Promise<Auth> | undefined;
  let epoch = 0;
  let known: string | undefined;
  let renewal: { of: string; until: number; work: Promise<unknown> } | undefined;

  /** The SDK, started anew: only at its start does it read the record without delay. */
  async function connect(): Promise<Auth> {
    if (app) await deleteApp(app);
    app = initializeApp({ apiKey }, name.join(":"));
    const fresh = initializeAuth(app, { persistence: indexedDBLocalPersistence });
    const { hostname, origin } = new URL(tokenUrl);
    if (hostname !== GOOGLE) connectAuthEmulator(fresh, origin, { disableWarnings: true });
    await fresh.authStateReady();
    return fresh;
  }

  async function look(): Promise<User | null> {
    const asked = epoch;
    auth ??= connect();
    const { currentUser } = await auth;
    const user = currentUser && (!tenants || tenants.includes(`${currentUser.tenantId}`)) ? currentUser : null;
    if (asked === epoch) {
      const before = known;
      known = user ? tokensOf(user).accessToken : "";
      if (before !== undefined && before !== known) await onChange(known);
    }
    return asked === epoch ? user : look();
  }

  function renew(user: User): Promise<unknown> {
    const of = user.refreshToken;
    if (renewal?.of !== of || renewal.until < Date.now()) {
      const mine = { of, until: Number.POSITIVE_INFINITY, work: Promise.resolve<unknown>(undefined) };
      renewal = mine;
      mine.work = user
        .getIdToken(true)
        .then(() => {
          mine.until = 0;
          return look();
        })
        .catch(({ code }) => {
          if (LATER.test(code)) mine.until = Date.now() + BACK_OFF_MS;
          else onRefused();
        });
    }
    return renewal.work;
  }

  return {
    key,
    changed() {
      epoch++;
      known ??= "?";
      auth = (auth ?? Promise.resolve()).catch(() => {}).then(connect);
      return look();
    },
    async carry(_fresh, extend) {
      let user = await look();
      if (user) {
        const left = tokensOf(user).expirationTime - Date.now();
        if (left < RENEW_AHEAD_MS) {
          const work = renew(user);
          if (left > IN_FLIGHT_MS) extend(work);
          else {
            await work;
            user = await look();
          }
        }
      }
      if (!user) return undefined;
      const { accessToken, expirationTime } = tokensOf(user);
      return expirationTime > Date.now() ? accessToken : "";
    },
  };
};
