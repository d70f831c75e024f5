import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { asked, CONFIG, ORIGIN, port, storedUser } from "./support";

type Listener = (event: never) => void;

/** What `new Request(input, init)` was called with. */
class BuiltRequest {
  constructor(
    readonly input: unknown,
    readonly init: RequestInit,
  ) {
    if (this.init.referrerPolicy === ("broken" as never)) throw new TypeError("cannot be copied");
  }
}

let listeners: Record<string, Listener>;
let fetched: ReturnType<typeof vi.fn>;
let scope: {
  skipWaiting: ReturnType<typeof vi.fn>;
  clients: { claim: ReturnType<typeof vi.fn>; matchAll: ReturnType<typeof vi.fn> };
};

beforeEach(async () => {
  vi.resetModules();
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("Request", BuiltRequest);
  fetched = vi.fn(async () => new Response("answer"));
  vi.stubGlobal("fetch", fetched);
  listeners = {};
  scope = {
    skipWaiting: vi.fn(async () => {}),
    clients: { claim: vi.fn(async () => {}), matchAll: vi.fn(async () => []) },
  };
  vi.stubGlobal("self", {
    ...scope,
    __GATEWAY__: CONFIG,
    location: new URL(`${ORIGIN}/service-worker.js`),
    addEventListener: (type: string, listener: Listener) => {
      listeners[type] = listener;
    },
  });
  await import("../src/worker" as string);
});

async function signIn(): Promise<void> {
  const { readUser } = await import("../src/store");
  const key = `firebase:authUser:${CONFIG.apiKey}:${CONFIG.appName}`;
  await readUser(key);
  const database = await new Promise<IDBDatabase>((resolve) => {
    const opening = indexedDB.open("firebaseLocalStorageDb", 1);
    opening.onsuccess = () => resolve(opening.result);
  });
  database
    .transaction("firebaseLocalStorage", "readwrite")
    .objectStore("firebaseLocalStorage")
    .put({ fbase_key: key, value: storedUser(3_600_000) });
  database.close();
}

/** One fetch event; undefined when the worker left it to the browser. */
async function request(over: Parameters<typeof asked>[0] = {}) {
  const event = { request: asked(over), respondWith: vi.fn(), waitUntil: vi.fn() };
  listeners.fetch?.(event as never);
  const answer = event.respondWith.mock.calls[0]?.[0] as Promise<Response> | undefined;
  return { event, answer: answer && (await answer.catch((error: unknown) => error)) };
}

describe("a request: the worker", () => {
  it("sends it with the token", async () => {
    await signIn();
    await request({ mode: "navigate" });
    const [sent] = fetched.mock.calls[0] as [BuiltRequest];
    expect(sent).toBeInstanceOf(BuiltRequest);
    expect(new Headers(sent.init.headers).get("authorization")).toBe("Bearer stored-token");
    expect(fetched).toHaveBeenCalledOnce();
  });

  it("sends it as it was when nobody is signed in", async () => {
    const { event } = await request();
    expect(fetched).toHaveBeenCalledExactlyOnceWith(event.request);
  });

  it("leaves what it may not touch to the browser, at once", async () => {
    await signIn();
    const { answer } = await request({ url: "https://foreign.example/" });
    expect(answer).toBeUndefined();
    expect(fetched).not.toHaveBeenCalled();
  });

  it("sends it as it was when IndexedDB is out of order", async () => {
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new Error("broken");
    });
    const { event } = await request();
    expect(fetched).toHaveBeenCalledExactlyOnceWith(event.request);
  });

  it("sends it as it was when it cannot be copied", async () => {
    await signIn();
    const { event } = await request({ referrerPolicy: "broken" as never });
    expect(fetched).toHaveBeenCalledExactlyOnceWith(event.request);
  });

  it("asks for an image again in its own mode when a redirect leads elsewhere", async () => {
    await signIn();
    fetched.mockRejectedValueOnce(new TypeError("redirected away"));
    const { event, answer } = await request({ mode: "no-cors", destination: "image" });
    expect(fetched).toHaveBeenLastCalledWith(event.request);
    expect(answer).toBeInstanceOf(Response);
  });

  it("never sends anything else twice", async () => {
    await signIn();
    fetched.mockRejectedValue(new TypeError("no network"));
    const { answer } = await request({ method: "POST" });
    expect(answer).toBeInstanceOf(TypeError);
    expect(fetched).toHaveBeenCalledOnce();
  });
});

describe("its life: the worker", () => {
  it("starts at once and routes navigations to itself, so that no anonymous one is sent ahead", () => {
    const addRoutes = vi.fn(async () => {});
    listeners.install?.({ addRoutes } as never);
    expect(scope.skipWaiting).toHaveBeenCalledOnce();
    expect(addRoutes).toHaveBeenCalledWith([{ condition: { requestMode: "navigate" }, source: "fetch-event" }]);
  });

  it("installs where there are no static routes", () => {
    expect(() => listeners.install?.({} as never)).not.toThrow();
  });

  it("installs where the static route is refused", async () => {
    const refusal = Promise.reject(new TypeError("not here"));
    listeners.install?.({ addRoutes: () => refusal } as never);
    await expect(refusal).rejects.toThrow();
  });

  it("takes control of open pages", async () => {
    const waitUntil = vi.fn();
    listeners.activate?.({ waitUntil } as never);
    await waitUntil.mock.calls[0]?.[0];
    expect(scope.clients.claim).toHaveBeenCalledOnce();
  });

  it("tells all pages, controlled or not, of a sign-out", async () => {
    const client = port();
    scope.clients.matchAll.mockResolvedValue([client]);
    const data = {
      eventType: "keyChanged",
      eventId: "1",
      data: { key: `firebase:authUser:${CONFIG.apiKey}:${CONFIG.appName}` },
    };
    const waitUntil = vi.fn();
    listeners.message?.({ data, ports: [port()], waitUntil } as never);
    await waitUntil.mock.calls[0]?.[0];
    await vi.waitFor(() => expect(client.postMessage).toHaveBeenCalledExactlyOnceWith({ type: "signed-out" }));
    expect(scope.clients.matchAll).toHaveBeenCalledWith({ includeUncontrolled: true });
  });
});
