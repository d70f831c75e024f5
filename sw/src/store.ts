/**
 * The Firebase JS SDK's own record of the signed-in user, in IndexedDB.
 *
 * The names and the shape are private to the SDK (`@firebase/auth`, `indexedDBLocalPersistence`), so this is the only
 * file that knows them. Safari is known to leave IndexedDB requests unanswered (firebase-js-sdk#8019): every operation has
 * a deadline, and a connection that failed is thrown away.
 */

const DATABASE = "firebaseLocalStorageDb";
const VERSION = 1;
const STORE = "firebaseLocalStorage";
const KEY_PATH = "fbase_key";

/** Longest wait for one operation, in milliseconds; after that the request goes on without a token. */
export const DEADLINE_MS = 1000;

export interface Tokens {
  accessToken: string;
  /** Milliseconds since 1970 by this computer's clock. */
  expirationTime: number;
  refreshToken: string;
}

/** What we read of the SDK's user record. It has more members, all of which survive `replaceTokens`. */
export interface StoredUser {
  uid: string;
  /** Identity Platform tenant; absent or null for users of the project itself. */
  tenantId?: string | null;
  stsTokenManager: Tokens;
}

interface Record {
  value: StoredUser | undefined;
}

/** The user's token while it is good: one that has expired says nothing, and would keep a good cookie from counting. */
export const goodToken = (user: StoredUser | undefined): string | undefined =>
  user && user.stsTokenManager.expirationTime > Date.now() ? user.stsTokenManager.accessToken : undefined;

/** The key of the user record of one Firebase app. */
export const userKey = (apiKey: string, appName: string): string => `firebase:authUser:${apiKey}:${appName}`;

let connection: Promise<IDBDatabase> | undefined;

/** The SDK deletes the database to mend it, which an open connection would block; browsers close idle ones on their own. */
const drop = (): void => {
  connection?.then(
    (database) => database.close(),
    () => {},
  );
  connection = undefined;
};

const connect = (): Promise<IDBDatabase> =>
  new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, VERSION);
    // Whoever comes first creates what the SDK expects to find.
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: KEY_PATH });
    opening.onerror = reject;
    opening.onsuccess = () => {
      resolve(opening.result);
      opening.result.onversionchange = opening.result.onclose = drop;
    };
  });

/** Gets one record and hands it to `use` in the same transaction; resolves with its answer when that is complete. */
const access = <T>(
  mode: IDBTransactionMode,
  key: string,
  use: (record: Record | undefined, store: IDBObjectStore) => T,
): Promise<T> =>
  new Promise<T>((resolve, reject) => {
    setTimeout(reject, DEADLINE_MS);
    connection ??= connect();
    connection
      .then((database) => {
        const transaction = database.transaction(STORE, mode);
        const store = transaction.objectStore(STORE);
        const request = store.get(key);
        transaction.onabort = reject;
        request.onsuccess = () => {
          const answer = use(request.result, store);
          transaction.oncomplete = () => resolve(answer);
        };
      })
      .catch(reject);
  }).catch((error) => {
    drop();
    throw error;
  });

/**
 * The stored user, or undefined when nobody is signed in, the record is not what we know, or the user is of none of the
 * `tenants`. Rejects when IndexedDB fails.
 */
export const readUser = (key: string, tenants?: readonly string[]): Promise<StoredUser | undefined> =>
  access("readonly", key, (record) => {
    const user = record?.value;
    return user?.stsTokenManager?.accessToken && (!tenants || tenants.includes(`${user.tenantId}`)) ? user : undefined;
  });

/**
 * Writes renewed tokens back, only where the session whose refresh token was `of` still stands: a sign-out, or a sign-in
 * in another tab, is never undone. No two users share a refresh token.
 */
export const replaceTokens = (key: string, of: string, tokens: Tokens): Promise<void> =>
  access("readwrite", key, (record, store) => {
    const user = record?.value;
    if (user?.stsTokenManager?.refreshToken === of) {
      store.put({ ...record, value: { ...user, stsTokenManager: tokens } });
    }
  });

/** Removes the record, as the SDK does when it signs out; pages with the SDK notice within a second. */
export const deleteUser = (key: string): Promise<void> =>
  access("readwrite", key, (_, store) => void store.delete(key));
