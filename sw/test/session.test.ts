import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Session } from "../src/session";
import { fakeLocks, KEY, later, renewed, storedUser, write } from "./support";

const DATABASE = "firebaseLocalStorageDb";
const APP = { key: KEY, tokenUrl: "https://token.example/v1/token?key=key" };
const LONG = 3_600_000;

let fetched: ReturnType<typeof vi.fn<typeof fetch>>;
let refused: ReturnType<typeof vi.fn<() => void>>;
let changed: ReturnType<typeof vi.fn<(token: string) => Promise<unknown>>>;
let session: Session;
let store: typeof import("../src/store");
let rules: typeof import("../src/session");
let extended: Promise<unknown>[];

const extend = (work: Promise<unknown>) => void extended.push(work);

beforeEach(async () => {
  vi.resetModules();
  vi.stubGlobal("indexedDB", new IDBFactory());
  fetched = vi.fn<typeof fetch>();
  vi.stubGlobal("fetch", fetched);
  vi.stubGlobal("navigator", { locks: fakeLocks() });
  refused = vi.fn<() => void>();
  changed = vi.fn(async (_token: string) => {});
  extended = [];
  store = await import("../src/store");
  rules = await import("../src/session");
  session = rules.createSession(APP, changed, refused);
});

describe("a stored session: the worker", () => {
  it("carries nothing when nobody is signed in, and asks no one", async () => {
    expect(await session.carry(true, extend)).toBeUndefined();
    expect(fetched).not.toHaveBeenCalled();
  });

  it("creates the database as the SDK would, so that the SDK finds its store", async () => {
    await session.carry(true, extend);
    await write(storedUser(LONG));
    expect(await session.carry(true, extend)).toEqual("stored-token");
  });

  it("carries a good token without any network", async () => {
    await write(storedUser(LONG));
    expect(await session.carry(true, extend)).toEqual("stored-token");
    expect(fetched).not.toHaveBeenCalled();
  });

  it("never remembers that nobody is signed in", async () => {
    expect(await session.carry(false, extend)).toBeUndefined();
    await write(storedUser(LONG));
    expect(await session.carry(false, extend)).toEqual("stored-token");
  });

  it("keeps to its own app's user", async () => {
    await write(storedUser(LONG), "firebase:authUser:key:another");
    expect(await session.carry(true, extend)).toBeUndefined();
  });

  it("takes a record of an unknown shape for nobody", async () => {
    await write({ uid: "ada", tokens: "elsewhere" });
    expect(await session.carry(true, extend)).toBeUndefined();
  });

  it("keeps to the tenants that it is told of", async () => {
    const tenant = rules.createSession({ ...APP, tenants: ["acme"] }, changed, refused);
    await write(storedUser(LONG));
    expect(await tenant.carry(true, extend)).toBeUndefined();
    await write(storedUser(LONG, { tenantId: "acme" }));
    expect(await tenant.carry(true, extend)).toBe("stored-token");
  });
});

describe("a sign-out: the worker", () => {
  beforeEach(async () => {
    await write(storedUser(LONG));
    await session.carry(true, extend);
    await write(undefined);
  });

  it("sees it at once after it was told", async () => {
    session.changed();
    expect(await session.carry(false, extend)).toBeUndefined();
  });

  it("sees it at once on a navigation", async () => {
    expect(await session.carry(true, extend)).toBeUndefined();
  });

  it("sees it after a quarter of a second when nobody told it", async () => {
    expect(await session.carry(false, extend)).toEqual("stored-token");
    later(rules.LOOK_AGAIN_MS);
    expect(await session.carry(false, extend)).toBeUndefined();
  });
});

it("does not use what it read before a sign-out for a request that waited across it", async () => {
  let answer: (user: unknown) => void = () => {};
  const slow = new Promise((resolve) => {
    answer = resolve;
  });
  const readUser = vi.fn(async () => undefined as unknown).mockReturnValueOnce(slow);
  vi.resetModules();
  vi.doMock("../src/store", () => ({ readUser, replaceTokens: vi.fn() }));
  const { createSession } = await import("../src/session");
  vi.doUnmock("../src/store");
  const slowSession = createSession(APP, changed, refused);
  const waiting = slowSession.carry(true, extend);
  const told = slowSession.changed();
  answer(storedUser(LONG));
  await told;
  expect(await waiting).toBeUndefined();
  expect(readUser).toHaveBeenCalledTimes(3);
});

describe("an expired token: the worker", () => {
  beforeEach(() => write({ ...storedUser(-1), email: "ada@example.com" }));

  it("renews it with one call for any number of requests", async () => {
    fetched.mockImplementation(async () => renewed("new-token"));
    const carried = await Promise.all(Array.from({ length: 50 }, () => session.carry(false, extend)));
    expect(carried).toEqual(Array.from({ length: 50 }, () => "new-token"));
    expect(fetched).toHaveBeenCalledTimes(1);
    const [url, init] = fetched.mock.calls[0] ?? [];
    expect(url).toBe("https://token.example/v1/token?key=key");
    expect(String(init?.body)).toBe("grant_type=refresh_token&refresh_token=refresh-1");
  });

  it("writes the new one back beside what it does not know", async () => {
    fetched.mockResolvedValue(renewed("new-token", "refresh-2"));
    await session.carry(false, extend);
    expect(await store.readUser(KEY)).toMatchObject({
      uid: "ada",
      email: "ada@example.com",
      stsTokenManager: { accessToken: "new-token", refreshToken: "refresh-2" },
    });
  });

  it("uses the new one from then on", async () => {
    fetched.mockResolvedValue(renewed("new-token"));
    await session.carry(false, extend);
    expect(await session.carry(false, extend)).toEqual("new-token");
    expect(await session.carry(true, extend)).toEqual("new-token");
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  it("does not undo a sign-out that came while it waited", async () => {
    fetched.mockImplementation(async () => {
      await write(undefined);
      return renewed("new-token");
    });
    expect(await session.carry(false, extend)).toBeUndefined();
    expect(await store.readUser(KEY)).toBeUndefined();
  });

  it("does not overwrite a sign-in that came while it waited, and uses that one", async () => {
    fetched.mockImplementation(async () => {
      await write(storedUser(LONG, { token: "fresh-sign-in", refresh: "refresh-9" }));
      return renewed("new-token");
    });
    expect(await session.carry(false, extend)).toEqual("fresh-sign-in");
    expect((await store.readUser(KEY))?.stsTokenManager.refreshToken).toBe("refresh-9");
  });

  it("judges anew when it was told of a change while it waited", async () => {
    fetched.mockImplementation(async () => {
      await write(storedUser(LONG, { uid: "bob", token: "bobs", refresh: "refresh-b" }));
      session.changed();
      return renewed("new-token");
    });
    expect(await session.carry(false, extend)).toEqual("bobs");
  });

  it.each([
    ["cannot be reached", () => Promise.reject(new TypeError("failed"))],
    ["fails", async () => new Response("oops", { status: 503 })],
    ["asks to come later", async () => new Response("{}", { status: 429 })],
    ["answers nonsense", async () => new Response("<html>")],
    ["answers without a token", async () => Response.json({})],
  ])("goes on without and says so when the service %s, and asks again only after a pause", async (_, answer) => {
    fetched.mockImplementation(answer);
    const carried = await Promise.all(Array.from({ length: 50 }, () => session.carry(false, extend)));
    expect(new Set(carried)).toEqual(new Set([""]));
    await session.carry(false, extend);
    expect(fetched).toHaveBeenCalledTimes(1);
    expect(refused).not.toHaveBeenCalled();
    later(rules.BACK_OFF_MS + 1);
    fetched.mockResolvedValue(renewed("new-token"));
    expect(await session.carry(false, extend)).toEqual("new-token");
  });

  it("stops for good when the service says no, tells once, and keeps the record", async () => {
    fetched.mockImplementation(async () => Response.json({ error: { message: "TOKEN_EXPIRED" } }, { status: 400 }));
    expect(await session.carry(false, extend)).toBe("");
    later(LONG);
    expect(await session.carry(false, extend)).toBe("");
    expect(fetched).toHaveBeenCalledTimes(1);
    expect(refused).toHaveBeenCalledTimes(1);
    expect(await store.readUser(KEY)).toBeDefined();
  });

  it("tries the next session after one that was refused", async () => {
    fetched.mockResolvedValueOnce(new Response("{}", { status: 400 }));
    await session.carry(false, extend);
    await write(storedUser(-1, { refresh: "refresh-2" }));
    fetched.mockResolvedValueOnce(renewed("new-token", "refresh-2"));
    expect(await session.carry(true, extend)).toEqual("new-token");
  });
});

describe("an expired token and several workers: the worker", () => {
  /** A worker of another scope, or the next version of this one: the same storage and the same locks. */
  const another = async () => {
    vi.resetModules();
    return (await import("../src/session")).createSession(APP, changed, refused);
  };

  it("asks once for all of them", async () => {
    await write(storedUser(-1));
    fetched.mockImplementation(async () => renewed("new-token"));
    const workers = [session, await another(), await another()];
    expect(await Promise.all(workers.map((worker) => worker.carry(false, extend)))).toEqual(
      workers.map(() => "new-token"),
    );
    expect(fetched).toHaveBeenCalledTimes(1);
  });

  it("tries again when its turn was taken away", async () => {
    const locks = { request: vi.fn(async () => Promise.reject(new DOMException("stolen", "AbortError"))) };
    vi.stubGlobal("navigator", { locks });
    await write(storedUser(-1));
    await expect(session.carry(false, extend)).rejects.toThrow("stolen");
    vi.stubGlobal("navigator", { locks: fakeLocks() });
    later(2 * rules.RENEW_DEADLINE_MS + 1);
    fetched.mockResolvedValue(renewed("new-token"));
    expect(await session.carry(false, extend)).toBe("new-token");
  });

  it("asks without waiting for the others where there are no locks", async () => {
    vi.stubGlobal("navigator", {});
    await write(storedUser(-1));
    fetched.mockResolvedValue(renewed("new-token"));
    expect(await session.carry(false, extend)).toBe("new-token");
  });
});

describe("news for pages and cookie: the worker", () => {
  it("tells of a token that is new, once, and of the sign-out", async () => {
    await session.carry(true, extend);
    await write(storedUser(LONG));
    await session.changed();
    await session.changed();
    await write(undefined);
    await session.carry(true, extend);
    expect(changed.mock.calls).toEqual([["stored-token"], [""]]);
  });

  it("tells of what it finds when it has just started and is told of a change", async () => {
    await session.changed();
    expect(changed.mock.calls).toEqual([[""]]);
  });

  it("tells nothing of what it finds by itself at its start", async () => {
    await write(storedUser(LONG));
    await session.carry(true, extend);
    expect(changed).not.toHaveBeenCalled();
  });

  it("tells of a renewed token", async () => {
    await write(storedUser(rules.RENEW_AHEAD_MS - 1000));
    fetched.mockResolvedValue(renewed("new-token"));
    await session.carry(false, extend);
    await extended[0];
    expect(changed.mock.calls).toEqual([["new-token"]]);
  });
});

describe("a token that expires soon: the worker", () => {
  it("sends it and renews in the background", async () => {
    await write(storedUser(rules.RENEW_AHEAD_MS - 1000));
    fetched.mockResolvedValue(renewed("new-token"));
    expect(await session.carry(false, extend)).toEqual("stored-token");
    expect(extended).toHaveLength(1);
    await extended[0];
    expect(await session.carry(false, extend)).toEqual("new-token");
  });

  it("waits for the new one when it might expire on the way", async () => {
    await write(storedUser(rules.IN_FLIGHT_MS - 1000));
    fetched.mockResolvedValue(renewed("new-token"));
    expect(await session.carry(false, extend)).toEqual("new-token");
  });

  it("sends it while it is valid when the service does not answer", async () => {
    await write(storedUser(rules.IN_FLIGHT_MS - 1000));
    fetched.mockRejectedValue(new TypeError("failed"));
    expect(await session.carry(false, extend)).toEqual("stored-token");
  });
});

describe("IndexedDB out of order: the worker", () => {
  it("gives up after its deadline when there is no answer, and tries afresh next time", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const open = vi.spyOn(indexedDB, "open").mockReturnValue({} as IDBOpenDBRequest);
    const carry = session.carry(true, extend).then(
      () => "answered",
      () => "gave up",
    );
    await vi.advanceTimersByTimeAsync(store.DEADLINE_MS);
    expect(await carry).toBe("gave up");
    vi.useRealTimers();
    open.mockRestore();
    await write(storedUser(LONG));
    expect(await session.carry(true, extend)).toEqual("stored-token");
  });

  it("rejects when it may not be used", async () => {
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new DOMException("denied", "SecurityError");
    });
    await expect(session.carry(true, extend)).rejects.toThrow();
  });

  it("lets the SDK delete the database to mend it", async () => {
    await write(storedUser(LONG));
    await session.carry(true, extend);
    await new Promise<void>((resolve, reject) => {
      const deleting = indexedDB.deleteDatabase(DATABASE);
      deleting.onsuccess = () => resolve();
      deleting.onblocked = () => reject(new Error("blocked"));
    });
    expect(await session.carry(true, extend)).toBeUndefined();
  });
});
