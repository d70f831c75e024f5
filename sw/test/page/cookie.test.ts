import { beforeEach, describe, expect, it, vi } from "vitest";
import { endAtGateway, setCookie } from "../../src/page/cookie";

const WITH = { prefix: "/.gateway/", cookie: true };
const WITHOUT = { prefix: "/.gateway/", cookie: false };
let fetched: ReturnType<typeof vi.fn<typeof fetch>>;

beforeEach(() => {
  fetched = vi.fn<typeof fetch>(async () => new Response(null, { status: 204 }));
  vi.stubGlobal("fetch", fetched);
});

const calls = () =>
  fetched.mock.calls.map(([url, init]) => [
    init?.method,
    url,
    new Headers(init?.headers).get("authorization"),
    String(init?.body ?? ""),
  ]);

describe("setCookie: the login page", () => {
  it("shows the gateway the token and says whether it was taken", async () => {
    expect(await setCookie(WITH, Promise.resolve("T"))).toBe(true);
    expect(calls()).toEqual([["POST", "/.gateway/session", "Bearer T", ""]]);
    fetched.mockResolvedValue(new Response(null, { status: 401 }));
    expect(await setCookie(WITH, Promise.resolve("T"))).toBe(false);
  });

  it("asks for nothing where there is no cookie", async () => {
    expect(await setCookie(WITHOUT, Promise.resolve("T"))).toBe(false);
    expect(fetched).not.toHaveBeenCalled();
  });

  it("never fails", async () => {
    fetched.mockRejectedValue(new TypeError("no network"));
    expect(await setCookie(WITH, Promise.resolve("T"))).toBe(false);
    expect(await setCookie(WITH, Promise.reject(new Error("no token")))).toBe(false);
  });
});

describe("endAtGateway: the logout page", () => {
  it("has this device's session denied and the cookie removed", async () => {
    await endAtGateway(WITH, "T");
    expect(calls()).toEqual([
      ["POST", "/.gateway/logout", "Bearer T", "scope=device"],
      ["DELETE", "/.gateway/session", "Bearer T", ""],
    ]);
  });

  it("has the session denied that only the cookie carries", async () => {
    await endAtGateway(WITH, undefined);
    expect(calls()).toEqual([
      ["POST", "/.gateway/logout", null, "scope=device"],
      ["DELETE", "/.gateway/session", null, ""],
    ]);
  });

  it("asks for nothing where there is neither token nor cookie", async () => {
    await endAtGateway(WITHOUT, undefined);
    expect(fetched).not.toHaveBeenCalled();
  });

  it("never fails", async () => {
    fetched.mockRejectedValue(new TypeError("no network"));
    await expect(endAtGateway(WITH, "T")).resolves.toBeUndefined();
  });
});
