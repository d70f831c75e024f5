import { beforeEach, describe, expect, it, vi } from "vitest";
import { LIMIT, WINDOW_MS } from "../../src/page/bounce";
import type { PageConfig, Reason } from "../../src/page/config";
import { arrive, type Surroundings } from "../../src/page/flow";

const REVOKED: Reason = { title: "Revoked.", advice: "Sign in again.", signOut: true, stepUp: false };
const STEP_UP: Reason = { title: "Confirm.", advice: "Your password again.", signOut: false, stepUp: true };
const EXPIRED: Reason = { title: "Expired.", advice: "Sign in again.", signOut: false, stepUp: false };

const CONFIG: PageConfig = {
  apiKey: "key",
  authDomain: "",
  projectId: "p",
  emulatorUrl: "",
  workerUrl: "/service-worker.js",
  appName: "[DEFAULT]",
  cookie: false,
  prefix: "/.gateway/",
  providers: ["password"],
  title: "Acme",
  homeUrl: "/",
  rd: "/notes",
  reason: "",
  reasons: {
    sign_in_required: { title: "Please sign in.", advice: "", signOut: false, stepUp: false },
    session_revoked: REVOKED,
    token_expired: EXPIRED,
    step_up_auth_age: STEP_UP,
  },
  passwordReset: true,
};

let fetched: ReturnType<typeof vi.fn<typeof fetch>>;
let user: { getIdToken: ReturnType<typeof vi.fn<(force?: boolean) => Promise<string>>> };
let signOut: ReturnType<typeof vi.fn<() => Promise<void>>>;
let kept: Map<string, string>;

const storage = {
  getItem: (key: string) => kept.get(key) ?? null,
  setItem: (key: string, value: string) => void kept.set(key, value),
  removeItem: (key: string) => void kept.delete(key),
};
const problem = (status: number, code: string) =>
  Response.json({ code, title: "Their title.", detail: "Their detail." }, { status });
const come = (over: Partial<Surroundings> = {}, config: Partial<PageConfig> = {}) =>
  arrive({
    config: { ...CONFIG, ...config },
    user,
    storage,
    reloaded: false,
    signOut,
    carrier: () => Promise.resolve(),
    now: () => 1_000_000,
    ...over,
  });

beforeEach(() => {
  kept = new Map();
  fetched = vi.fn<typeof fetch>(async () => Response.json({ uid: "ada" }));
  vi.stubGlobal("fetch", fetched);
  user = { getIdToken: vi.fn(async (force) => (force ? "new-token" : "token")) };
  signOut = vi.fn(async () => {});
});

describe("someone without a session: the login page", () => {
  it("shows the form", async () => {
    expect(await come({ user: null })).toEqual({ kind: "form" });
    expect(fetched).not.toHaveBeenCalled();
  });

  it("says why they were sent here", async () => {
    expect(await come({ user: null }, { reason: "session_revoked" })).toEqual({ kind: "form", because: REVOKED });
  });

  it.each(["sign_in_required", "unknown_reason"])("adds nothing to the form for %s", async (reason) => {
    expect(await come({ user: null }, { reason })).toEqual({ kind: "form" });
  });
});

describe("someone with a good session who is to prove more: the login page", () => {
  it("asks them instead of sending them back to where they came from", async () => {
    expect(await come({}, { reason: "step_up_auth_age" })).toEqual({ kind: "prove", because: STEP_UP });
    expect(signOut).not.toHaveBeenCalled();
    expect(kept.size).toBe(0);
  });

  it("shows the form when the session is no longer good", async () => {
    fetched.mockResolvedValue(problem(401, "session_revoked"));
    expect(await come({}, { reason: "step_up_auth_age" })).toEqual({ kind: "form", because: REVOKED });
    expect(signOut).toHaveBeenCalledOnce();
  });

  it("shows the form when nobody is signed in", async () => {
    expect(await come({ user: null }, { reason: "step_up_auth_age" })).toEqual({ kind: "form", because: STEP_UP });
  });
});

describe("someone with a good session: the login page", () => {
  it("sends them on after the gateway accepted their token", async () => {
    expect(await come()).toEqual({ kind: "leave" });
    const [url, init] = fetched.mock.calls[0] ?? [];
    expect(url).toBe("/.gateway/userinfo");
    expect(new Headers(init?.headers).get("authorization")).toBe("Bearer token");
  });

  it("does not sign them out because of a reason in the address", async () => {
    expect(await come({}, { reason: "session_revoked" })).toEqual({ kind: "leave" });
    expect(signOut).not.toHaveBeenCalled();
  });

  it("waits for the worker", async () => {
    let ready = () => {};
    const worker = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const step = come({ carrier: () => worker });
    expect(await Promise.race([step, new Promise((resolve) => setTimeout(() => resolve("waiting"), 5))])).toBe(
      "waiting",
    );
    ready();
    expect(await step).toEqual({ kind: "leave" });
  });

  it("says so when there is no worker", async () => {
    expect(await come({ carrier: () => Promise.reject(new Error("no")) })).toEqual({ kind: "no-worker" });
  });
});

describe("someone who comes back again and again: the login page", () => {
  const times = async (count: number, over: Partial<Surroundings> = {}) => {
    const steps = [];
    for (let i = 0; i < count; i++) steps.push((await come({ now: () => 1_000_000 + i * 100, ...over })).kind);
    return steps;
  };

  it("stops after two departures to the same page", async () => {
    expect(await times(LIMIT + 1)).toEqual(["leave", "leave", "circling"]);
  });

  it("does not count what is long ago", async () => {
    await times(LIMIT);
    expect((await come({ now: () => 1_000_100 + WINDOW_MS })).kind).toBe("leave");
  });

  it("does not count departures to other pages", async () => {
    await times(LIMIT);
    expect((await come({}, { rd: "/other" })).kind).toBe("leave");
  });

  it("does not count reloads by hand", async () => {
    expect(await times(LIMIT + 3, { reloaded: true })).not.toContain("circling");
  });

  it("works where storage is refused", async () => {
    const refuse = () => {
      throw new DOMException("denied", "SecurityError");
    };
    const refusing = { getItem: refuse, setItem: refuse, removeItem: refuse };
    expect((await come({ storage: refusing, reloaded: true })).kind).toBe("leave");
  });

  it("survives a count that it cannot read", async () => {
    kept.set("gateway:departures", "{");
    expect((await come()).kind).toBe("leave");
  });
});

describe("someone whose session is refused: the login page", () => {
  it("signs them out first when the session can never be good again, and says why", async () => {
    fetched.mockResolvedValue(problem(401, "session_revoked"));
    expect(await come()).toEqual({ kind: "form", because: REVOKED });
    expect(signOut).toHaveBeenCalledOnce();
    expect(fetched).toHaveBeenCalledOnce();
  });

  it("tries once with a new token, which mends an expired one", async () => {
    fetched.mockResolvedValueOnce(problem(401, "token_expired"));
    expect(await come()).toEqual({ kind: "leave" });
    expect(new Headers(fetched.mock.calls[1]?.[1]?.headers).get("authorization")).toBe("Bearer new-token");
  });

  it("shows the form with the gateway's reason when a new token does not help", async () => {
    fetched.mockImplementation(async () => problem(401, "token_expired"));
    expect(await come()).toEqual({ kind: "form", because: EXPIRED });
    expect(fetched).toHaveBeenCalledTimes(2);
    expect(signOut).not.toHaveBeenCalled();
  });

  it("signs out when the second answer says that it is over", async () => {
    fetched.mockResolvedValueOnce(problem(401, "token_expired")).mockResolvedValueOnce(problem(401, "session_revoked"));
    expect(await come()).toEqual({ kind: "form", because: REVOKED });
    expect(signOut).toHaveBeenCalledOnce();
  });

  it("uses the answer's own words for a reason that it does not know", async () => {
    fetched.mockImplementation(async () => problem(403, "brand_new"));
    expect(await come()).toMatchObject({ kind: "form", because: { title: "Their title.", advice: "Their detail." } });
  });

  it("shows the form when the identity provider has ended the session", async () => {
    user.getIdToken.mockRejectedValue({ code: "auth/user-token-expired" });
    expect((await come()).kind).toBe("form");
  });
});

describe("a gateway that cannot judge: the login page", () => {
  it.each([
    ["the gateway says 503", () => fetched.mockImplementation(async () => problem(503, "keys_unavailable"))],
    ["the gateway is gone", () => fetched.mockRejectedValue(new TypeError("failed"))],
    ["the answer is no JSON", () => fetched.mockImplementation(async () => new Response("<html>", { status: 502 }))],
    ["the token service is gone", () => user.getIdToken.mockRejectedValue({ code: "auth/network-request-failed" })],
  ])("offers to try again when %s, and keeps the session", async (_, arrange) => {
    arrange();
    expect((await come()).kind).toBe("unavailable");
    expect(signOut).not.toHaveBeenCalled();
  });
});
