import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type * as Declared from "../../static/session";
import type * as Helper from "../src/helper";
import { KEY, storedUser, write } from "./support";

const LONG = 3_600_000;
const USER = { uid: "ada", email: "ada@example.com" };

/** The declaration that apps compile against says what the helper is. */
const promised = (helper: typeof Helper): typeof Declared => helper;

let helper: typeof Declared;
let fetched: ReturnType<typeof vi.fn<typeof fetch>>;
let page: EventTarget;
let workers: EventTarget & Record<string, ReturnType<typeof vi.fn>>;
let moved: Record<"assign" | "replace" | "reload", ReturnType<typeof vi.fn>>;
let told: unknown[];

async function load(config: Record<string, unknown> = {}): Promise<void> {
  vi.resetModules();
  vi.stubGlobal("__GATEWAY__", {
    workerUrl: "/service-worker.js",
    prefix: "/.gateway/",
    keys: [KEY],
    cookie: true,
    ...config,
  });
  helper = promised(await import("../src/helper"));
}

beforeEach(async () => {
  vi.stubGlobal("indexedDB", new IDBFactory());
  fetched = vi.fn<typeof fetch>(async () => new Response(null, { status: 204 }));
  vi.stubGlobal("fetch", fetched);
  page = new EventTarget();
  vi.stubGlobal("addEventListener", page.addEventListener.bind(page));
  vi.stubGlobal("document", { visibilityState: "visible" });
  moved = { assign: vi.fn(), replace: vi.fn(), reload: vi.fn() };
  vi.stubGlobal("location", { ...moved, pathname: "/jobs", search: "?page=2" });
  told = [];
  const active = {
    postMessage: vi.fn((message: unknown, [port]: [MessagePort]) => {
      told.push(message);
      port.postMessage({ status: "done" });
    }),
  };
  workers = Object.assign(new EventTarget(), {
    controller: active,
    register: vi.fn(async () => ({})),
    ready: Promise.resolve({ active }),
    startMessages: vi.fn(),
  }) as never;
  vi.stubGlobal("navigator", { serviceWorker: workers });
  await write(storedUser(LONG));
  await load();
});

const hear = (type: Declared.SessionEvent) => {
  const listener = vi.fn();
  helper.on(type, listener);
  return listener;
};
const message = (type: string) => workers.dispatchEvent(Object.assign(new Event("message"), { data: { type } }));
const calls = () =>
  fetched.mock.calls.map(([url, init]) => `${init?.method ?? "GET"} ${url} ${init?.body ?? ""}`.trim());

describe("user: the page helper", () => {
  it("asks the gateway, once for many askers", async () => {
    fetched.mockImplementation(async () => Response.json(USER));
    expect(await Promise.all([helper.user(), helper.user()])).toEqual([USER, USER]);
    expect(calls()).toEqual(["GET /.gateway/userinfo"]);
    await helper.user({ fresh: true });
    expect(fetched).toHaveBeenCalledTimes(2);
  });

  it("says null when nobody is signed in", async () => {
    fetched.mockImplementation(async () => new Response(null, { status: 401 }));
    expect(await helper.user()).toBeNull();
  });

  it("fails when the gateway cannot tell, and asks again next time", async () => {
    fetched.mockImplementation(async () => new Response(null, { status: 503 }));
    await expect(helper.user()).rejects.toThrow("503");
    fetched.mockImplementation(async () => Response.json(USER));
    expect(await helper.user()).toEqual(USER);
  });
});

describe("register and ready: the page helper", () => {
  it("registers the worker for the whole site", async () => {
    await helper.register();
    expect(workers.register).toHaveBeenCalledWith("/service-worker.js", { scope: "/", updateViaCache: "none" });
  });

  it("is ready when the worker controls the page", async () => {
    await Promise.all([helper.ready(), helper.ready()]);
    expect(workers.register).toHaveBeenCalledOnce();
  });

  it("tries again after it could not register", async () => {
    workers.register?.mockRejectedValueOnce(new TypeError("no network"));
    await expect(helper.ready()).rejects.toThrow("no network");
    await expect(helper.ready()).resolves.toBeUndefined();
  });

  it("is ready at once where the site has switched its worker off", async () => {
    await load({ workerUrl: "" });
    await helper.ready();
    await helper.register();
    expect(workers.register).not.toHaveBeenCalled();
  });
});

it("signIn: the page helper leads to the login page and back here", () => {
  helper.signIn();
  expect(moved.assign).toHaveBeenCalledWith("/.gateway/login?rd=%2Fjobs%3Fpage%3D2");
});

describe("signOut: the page helper", () => {
  const record = async () => (await import("../src/store")).readUser(KEY);

  it("removes the record, tells the worker and then the gateway", async () => {
    const heard = hear("signedout");
    await helper.signOut({ returnTo: "/bye" });
    expect(await record()).toBeUndefined();
    expect(told).toEqual([expect.objectContaining({ eventType: "keyChanged", data: { key: KEY } })]);
    expect(calls()).toEqual(["POST /.gateway/logout scope=device", "DELETE /.gateway/session"]);
    for (const [, init] of fetched.mock.calls) {
      expect(new Headers(init?.headers).get("authorization")).toBe("Bearer stored-token");
    }
    expect(heard).toHaveBeenCalledOnce();
    expect(moved.replace).toHaveBeenCalledWith("/bye");
  });

  it.each([
    ["nobody is stored", undefined],
    ["the stored token has expired", storedUser(-LONG)],
  ])("ends the cookie's session, before the worker removes the cookie, when %s", async (_, user) => {
    await write(user);
    fetched.mockImplementation(async (_, init) => {
      if (init?.method === "POST") expect(told).toEqual([]);
      return new Response(null, { status: 204 });
    });
    await helper.signOut();
    expect(calls()).toEqual(["POST /.gateway/logout scope=device", "DELETE /.gateway/session"]);
    for (const [, init] of fetched.mock.calls) expect(new Headers(init?.headers).has("authorization")).toBe(false);
    expect(told).toHaveLength(1);
  });

  it("signs out here although the gateway cannot be reached", async () => {
    fetched.mockRejectedValue(new TypeError("no network"));
    await helper.signOut();
    expect(await record()).toBeUndefined();
  });

  it("ends all sessions first, and none when that fails", async () => {
    fetched.mockImplementation(async () => new Response(null, { status: 503 }));
    await expect(helper.signOut({ everywhere: true })).rejects.toThrow("503");
    expect(await record()).toBeDefined();
    fetched.mockImplementation(async () => new Response(null, { status: 204 }));
    await helper.signOut({ everywhere: true });
    expect(calls().slice(1)).toEqual(["POST /.gateway/logout scope=everywhere", "DELETE /.gateway/session"]);
    expect(await record()).toBeUndefined();
  });

  it("leaves the cookie's address alone where there is none", async () => {
    await load({ cookie: false });
    await helper.signOut();
    expect(calls()).toEqual(["POST /.gateway/logout scope=device"]);
  });
});

describe("events: the page helper", () => {
  it("tells of a sign-out in another tab, once", async () => {
    const heard = hear("signedout");
    await write(undefined);
    message("signed-out");
    message("signed-out");
    await vi.waitFor(() => expect(heard).toHaveBeenCalled());
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(heard).toHaveBeenCalledOnce();
  });

  it("tells of another user, and not of a new token", async () => {
    const heard = hear("userchanged");
    await write(storedUser(LONG, { token: "renewed" }));
    message("signed-in");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(heard).not.toHaveBeenCalled();
    await write(storedUser(LONG, { uid: "bob" }));
    message("signed-in");
    await vi.waitFor(() => expect(heard).toHaveBeenCalledOnce());
  });

  it("tells of a session that cannot be renewed", () => {
    const heard = hear("tokenfailed");
    message("token-failed");
    expect(heard).toHaveBeenCalledOnce();
  });

  it("looks for itself when the page is shown again", async () => {
    const heard = hear("signedout");
    await write(undefined);
    page.dispatchEvent(new Event("visibilitychange"));
    await vi.waitFor(() => expect(heard).toHaveBeenCalledOnce());
  });

  it("ends when nobody listens any more", async () => {
    const listener = vi.fn();
    helper.on("tokenfailed", listener)();
    message("token-failed");
    expect(listener).not.toHaveBeenCalled();
  });
});

describe("the back/forward cache: the page helper", () => {
  const shown = (persisted: boolean) => page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted }));
  const hidden = () => page.dispatchEvent(new Event("pagehide"));

  it("loads the page anew when the user has changed", async () => {
    hidden();
    await write(undefined);
    shown(true);
    await vi.waitFor(() => expect(moved.reload).toHaveBeenCalledOnce());
  });

  it("does so although becoming visible has told it the news before", async () => {
    hidden();
    await write(undefined);
    const listener = hear("signedout");
    page.dispatchEvent(new Event("visibilitychange"));
    await vi.waitFor(() => expect(listener).toHaveBeenCalledOnce());
    shown(true);
    await vi.waitFor(() => expect(moved.reload).toHaveBeenCalledOnce());
  });

  it.each([
    ["the user is the same", true],
    ["the page was loaded just now", false],
  ])("leaves the page alone when %s", async (_, persisted) => {
    hidden();
    if (!persisted) await write(undefined);
    shown(persisted);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(moved.reload).not.toHaveBeenCalled();
  });
});

describe("keepAlive: live connections", () => {
  it("asks the gateway every two minutes until it is told to stop, whatever the answers", async () => {
    vi.useFakeTimers();
    try {
      fetched.mockImplementation(async () => new Response(null, { status: 503 }));
      const stop = helper.keepAlive();
      await vi.advanceTimersByTimeAsync(5 * 60_000);
      expect(calls()).toEqual(["GET /.gateway/userinfo", "GET /.gateway/userinfo"]);
      stop();
      await vi.advanceTimersByTimeAsync(LONG);
      expect(fetched).toHaveBeenCalledTimes(2);
    } finally {
      vi.useRealTimers();
    }
  });
});
