import { IDBFactory } from "fake-indexeddb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Fetching, GatewaySession } from "../src/api";
import { asked, CONFIG, fakeLocks, KEY, ORIGIN, port, storedUser, write } from "./support";

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

const SECOND = "firebase:authUser:key:second";

/** Evaluates the worker's script, or an app's own that imports it. */
async function evaluate(over: Record<string, unknown> = {}): Promise<void> {
  vi.resetModules();
  listeners = {};
  vi.stubGlobal("self", {
    ...scope,
    __GATEWAY__: CONFIG,
    location: new URL(`${ORIGIN}/service-worker.js`),
    addEventListener: (type: string, listener: Listener) => {
      listeners[type] = listener;
    },
    ...over,
  });
  await import("../src/sw" as string);
}

beforeEach(async () => {
  vi.stubGlobal("indexedDB", new IDBFactory());
  vi.stubGlobal("navigator", { locks: fakeLocks() });
  vi.stubGlobal("Request", BuiltRequest);
  fetched = vi.fn(async () => new Response("answer"));
  vi.stubGlobal("fetch", fetched);
  scope = {
    skipWaiting: vi.fn(async () => {}),
    clients: { claim: vi.fn(async () => {}), matchAll: vi.fn(async () => []) },
  };
  await evaluate();
});

const signIn = () => write(storedUser(3_600_000));

/** What the SDK tells a worker after it has written or removed a record; resolves when all is done. */
async function tellChange(key = KEY): Promise<ReturnType<typeof port>> {
  const to = port();
  const waitUntil = vi.fn();
  listeners.message?.({
    data: { eventType: "keyChanged", eventId: "1", data: { key } },
    ports: [to],
    waitUntil,
  } as never);
  await waitUntil.mock.calls[0]?.[0];
  return to;
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
    await tellChange();
    await vi.waitFor(() => expect(client.postMessage).toHaveBeenCalledExactlyOnceWith({ type: "signed-out" }));
    expect(scope.clients.matchAll).toHaveBeenCalledWith({ includeUncontrolled: true });
  });
});

const sent = (index = 0) => fetched.mock.calls[index] as [string, RequestInit];
const tokenOf = (request: unknown) => new Headers((request as BuiltRequest).init?.headers).get("authorization");

describe("several apps: the worker", () => {
  beforeEach(() => {
    const second = { key: SECOND, tokenUrl: "https://token.example/v1/token?key=key" };
    return evaluate({ __GATEWAY__: { ...CONFIG, apps: [...CONFIG.apps, second], cookie: "/.gateway/session" } });
  });

  it("takes the user of the first that has one", async () => {
    await write(storedUser(3_600_000, { token: "second-token" }), SECOND);
    await request();
    expect(tokenOf(sent()[0])).toBe("Bearer second-token");
    await signIn();
    await request();
    expect(tokenOf(fetched.mock.lastCall?.[0])).toBe("Bearer stored-token");
  });

  it("keeps the cookie for the first", async () => {
    await write(storedUser(3_600_000), SECOND);
    await tellChange(SECOND);
    expect(fetched).not.toHaveBeenCalled();
  });
});

describe("the session cookie: the worker", () => {
  beforeEach(() => evaluate({ __GATEWAY__: { ...CONFIG, cookie: "/.gateway/session" } }));

  it("has it set before the SDK hears that the sign-in is done", async () => {
    await signIn();
    const heard: unknown[] = [];
    fetched.mockImplementation(async (url: string, { method }: RequestInit) => {
      heard.push(`${method} ${url}`);
      return new Response();
    });
    const to = await tellChange();
    expect(heard).toEqual(["POST /.gateway/session"]);
    expect(new Headers(sent()[1].headers).get("authorization")).toBe("Bearer stored-token");
    expect(to.postMessage).toHaveBeenLastCalledWith(expect.objectContaining({ status: "done" }));
  });

  it("has it removed before the SDK hears that the sign-out is done", async () => {
    await signIn();
    await tellChange();
    await write(undefined);
    await tellChange();
    expect(sent(1)[1]).toMatchObject({ method: "DELETE" });
    expect(sent(1)[1]).not.toHaveProperty("headers");
  });

  it("leaves it alone at its start: only changes are told", async () => {
    await request();
    await signIn();
    await evaluate({ __GATEWAY__: { ...CONFIG, cookie: "/.gateway/session" } });
    await request();
    expect(fetched).toHaveBeenCalledTimes(2);
    expect(fetched.mock.calls.map(([input]) => input)).not.toContain("/.gateway/session");
  });

  it("removes it before the next request when a page that it does not control has signed out", async () => {
    await signIn();
    await request({ mode: "navigate" });
    await write(undefined);
    await request({ mode: "navigate" });
    expect(fetched.mock.calls.map(([input]) => typeof input)).toEqual(["object", "string", "object"]);
    expect(sent(1)[1]).toMatchObject({ method: "DELETE" });
  });

  it("answers although the gateway cannot be reached", async () => {
    await signIn();
    fetched.mockRejectedValue(new TypeError("no network"));
    const to = await tellChange();
    expect(to.postMessage).toHaveBeenLastCalledWith(expect.objectContaining({ status: "done" }));
  });

  it("tells nobody where there is none", async () => {
    await evaluate();
    await signIn();
    await tellChange();
    expect(fetched).not.toHaveBeenCalled();
  });
});

describe("imported by an app's own worker: the worker", () => {
  type Own = { gatewaySession: GatewaySession };
  const session = () => (self as unknown as Own).gatewaySession;

  it("leaves alone what another listener has answered, and sends nothing for it", async () => {
    await signIn();
    const respondWith = vi.fn(() => {
      throw new DOMException("already answered", "InvalidStateError");
    });
    listeners.fetch?.({ request: asked(), respondWith, waitUntil: vi.fn() } as never);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fetched).not.toHaveBeenCalled();
  });

  it("leaves requests and the life cycle to the app where that is asked for", async () => {
    await evaluate({ __GATEWAY_MANUAL__: true });
    expect(Object.keys(listeners).sort()).toEqual(["install", "message"]);
    const addRoutes = vi.fn(async () => {});
    listeners.install?.({ addRoutes } as never);
    expect(scope.skipWaiting).not.toHaveBeenCalled();
    expect(addRoutes).toHaveBeenCalledOnce();
  });

  it("authenticates a request for the app's own fetch", async () => {
    await signIn();
    expect(tokenOf(await session().authenticate(asked() as Request))).toBe("Bearer stored-token");
  });

  it("hands back what may not carry a token", async () => {
    await signIn();
    const foreign = asked({ url: "https://foreign.example/" }) as Request;
    expect(await session().authenticate(foreign)).toBe(foreign);
    expect(session().handle({ request: foreign, waitUntil: vi.fn() })).toBeUndefined();
  });

  it("answers an event for the app's router", async () => {
    await signIn();
    const event = { request: asked(), waitUntil: vi.fn() } as unknown as Fetching;
    expect(await session().handle(event)).toBeInstanceOf(Response);
    expect(tokenOf(sent()[0])).toBe("Bearer stored-token");
  });
});
