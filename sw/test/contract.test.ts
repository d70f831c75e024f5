/**
 * The worker depends on where and how the Firebase JS SDK stores its user, which the SDK promises to nobody. Here the
 * real SDK signs in, the worker reads and renews, and the SDK goes on with what the worker wrote.
 */

import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { version as authVersion } from "../node_modules/@firebase/auth/package.json";
import type { Session } from "../src/session";
import { fakeLocks, KEY, later } from "./support";

type Sdk = typeof import("@firebase/auth");
type Auth = import("@firebase/auth").Auth;

const SDK = `@firebase/auth ${authVersion}`;
const HOUR = 3_600_000;
const CHANGED = `${SDK} stores its user otherwise than src/store.ts expects. Compare the record below with StoredUser.`;

/** A JSON Web Token as far as the SDK reads one: it wants the times and the subject. */
function jwt(name: string): string {
  const part = (value: unknown) => btoa(JSON.stringify(value)).replace(/=+$/, "");
  const now = Math.floor(Date.now() / 1000);
  return [part({ alg: "RS256" }), part({ sub: "ada", name, iat: now, exp: now + 3600 }), part("signature")].join(".");
}

let sdk: Sdk;
let firebase: typeof import("@firebase/app");
let app: import("@firebase/app").FirebaseApp;
let auth: Auth;
let session: Session;
let store: typeof import("../src/store");
let renewals: string[];
let issued: string;

/** Google's two services, as far as a sign-in with a password needs them. */
async function services(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const { pathname } = new URL(String(input));
  if (pathname.endsWith("/token")) {
    const refresh = new URLSearchParams(String(init?.body)).get("refresh_token") ?? "";
    renewals.push(refresh);
    issued = jwt(`renewal ${renewals.length}`);
    return Response.json({ id_token: issued, access_token: issued, refresh_token: refresh, expires_in: "3600" });
  }
  if (pathname.endsWith("accounts:signInWithPassword")) {
    issued = jwt("sign-in");
    return Response.json({ localId: "ada", idToken: issued, refreshToken: "refresh-1", expiresIn: "3600" });
  }
  return Response.json({ users: [{ localId: "ada", email: "ada@example.com", providerUserInfo: [] }] });
}

async function startSdk(): Promise<Auth> {
  await Promise.all(firebase.getApps().map(firebase.deleteApp));
  app = firebase.initializeApp({ apiKey: "key", projectId: "demo" });
  const started = sdk.initializeAuth(app, { persistence: sdk.indexedDBLocalPersistence });
  await started.authStateReady();
  return started;
}

async function rawRecord(): Promise<Record<string, unknown>> {
  const database = await new Promise<IDBDatabase>((resolve) => {
    const opening = indexedDB.open("firebaseLocalStorageDb");
    opening.onsuccess = () => resolve(opening.result);
  });
  const names = [...database.objectStoreNames];
  const records = await new Promise<unknown>((resolve) => {
    const all = database
      .transaction(names, "readonly")
      .objectStore(names[0] ?? "")
      .getAll();
    all.onsuccess = () => resolve(all.result);
  });
  const { version } = database;
  database.close();
  return { version, names, records };
}

beforeEach(async () => {
  vi.resetModules();
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("self", globalThis);
  vi.stubGlobal("navigator", { locks: fakeLocks(), userAgent: "Chrome/156", onLine: true });
  vi.stubGlobal("fetch", vi.fn(services));
  renewals = [];
  firebase = await import("@firebase/app");
  sdk = await import("@firebase/auth");
  firebase.setLogLevel("silent");
  store = await import("../src/store");
  const { createSession } = await import("../src/session");
  const tokenUrl = "https://securetoken.googleapis.com/v1/token?key=key";
  session = createSession({ key: KEY, tokenUrl }, async () => {}, vi.fn());
  auth = await startSdk();
  await sdk.signInWithEmailAndPassword(auth, "ada@example.com", "correct horse");
});

afterEach(async () => {
  await Promise.all(firebase.getApps().map(firebase.deleteApp));
});

const carry = () => session.carry(true, () => {});

describe(`the stored format of ${SDK}`, () => {
  it("is the browser's build of the SDK that is tried here", () => {
    expect(sdk.indexedDBLocalPersistence.type).toBe("LOCAL");
    expect(auth.config.sdkClientVersion).toMatch(/^Browser|^Chrome|\/JsCore\//);
  });

  it("is what the worker reads after a sign-in", async () => {
    const found = await store.readUser(KEY);
    expect(found, `${CHANGED}\n${JSON.stringify(await rawRecord(), undefined, 2)}`).toMatchObject({
      uid: "ada",
      stsTokenManager: { accessToken: issued, refreshToken: "refresh-1", expirationTime: expect.any(Number) },
    });
    expect(await carry()).toBe(issued);
    expect(renewals).toEqual([]);
  });

  it("has the key under which the worker looks", async () => {
    expect(store.userKey("key", app.name)).toBe(KEY);
    const { records } = await rawRecord();
    expect(records).toContainEqual(expect.objectContaining({ fbase_key: KEY }));
  });

  it("is what the SDK understands after the worker has renewed the token", async () => {
    later(HOUR);
    expect(await carry()).toBe(issued);
    expect(renewals).toEqual(["refresh-1"]);
    const again = await startSdk();
    expect(await again.currentUser?.getIdToken()).toBe(issued);
    expect(again.currentUser?.email).toBe("ada@example.com");
    expect(renewals, "the SDK used what the worker wrote and asked for no token of its own").toEqual(["refresh-1"]);
  });

  it("is what the worker understands after the SDK has renewed the token", async () => {
    await auth.currentUser?.getIdToken(true);
    expect(await carry()).toBe(issued);
    expect(renewals).toEqual(["refresh-1"]);
  });

  it("is gone for the worker after the SDK has signed out", async () => {
    await sdk.signOut(auth);
    expect(await carry()).toBeUndefined();
  });

  it("is gone for the SDK after the page helper has signed out", async () => {
    await store.deleteUser(KEY);
    expect((await startSdk()).currentUser).toBeNull();
  });
});
