import { describe, expect, it } from "vitest";
import * as attach from "../src/attach";
import { asked, CONFIG, ORIGIN } from "./support";

const may = (over: Parameters<typeof asked>[0]) => attach.mayCarry(asked(over), ORIGIN, CONFIG);
const build = (over: Parameters<typeof asked>[0], token = "T") => {
  const request = asked(over);
  const [input, init] = attach.rebuild(request, ORIGIN, token);
  return { request, input, init, headers: new Headers(init.headers) };
};

describe("mayCarry: the worker", () => {
  it.each([
    ["takes a script's request to our origin", {}],
    ["takes a page navigation, wherever it comes from", { mode: "navigate", referrer: "https://foreign.example/" }],
    ["takes our own form", { mode: "navigate", method: "POST", referrer: `${ORIGIN}/form` }],
    ["takes a script's unsafe request", { method: "DELETE" }],
    ["takes an image", { mode: "no-cors", destination: "image" }],
    ["takes the gateway's own interfaces", { path: "/.gateway/userinfo" }],
    ["takes a path that only begins like an excluded one", { path: "/healthy" }],
    ["takes a path that only ends like the login page", { path: "/x/.gateway/login" }],
    ["takes an interface that begins like the login page", { path: "/.gateway/loginhistory" }],
  ] as const)("%s", (_, over) => {
    expect(may(over as never)).toBe(true);
  });

  it.each([
    ["a foreign origin", { url: "https://foreign.example/page" }],
    ["a foreign origin that begins like ours", { url: `${ORIGIN}.foreign.example/page` }],
    ["another port", { url: `${ORIGIN}:8443/page` }],
    ["another scheme", { url: "http://app.example/page" }],
    ["a request with its own Authorization", { headers: new Headers({ authorization: "Basic x" }) }],
    ["a request without credentials", { credentials: "omit" }],
    ["the login page", { path: "/.gateway/login?rd=/" }],
    ["the logout page", { path: "/.gateway/logout" }],
    ["the pages' files", { path: "/.gateway/assets/login.js?v=1" }],
    ["the worker itself", { path: "/service-worker.js" }],
    ["an excluded folder", { path: "/static/logo.svg" }],
    ["an excluded path with a query", { path: "/health?full" }],
    ["a form of a foreign site", { mode: "navigate", method: "POST", referrer: "https://foreign.example/" }],
    [
      "a form of a site that begins like ours",
      { mode: "navigate", method: "POST", referrer: `${ORIGIN}.foreign.example/` },
    ],
    ["a form of an unknown site", { mode: "navigate", method: "POST", referrer: "" }],
    ["a form of an opaque page", { mode: "navigate", method: "POST", referrer: "about:client" }],
  ] as const)("leaves alone %s", (_, over) => {
    expect(may(over as never)).toBe(false);
  });
});

describe("describe: X-Gateway-Fetch", () => {
  it.each([
    [{ mode: "navigate", destination: "document" }, false, "mode=navigate, dest=document, site=same-origin"],
    [{ mode: "navigate", destination: "iframe", referrer: "" }, false, "mode=navigate, dest=iframe, site=none"],
    [
      { mode: "navigate", destination: "document", referrer: "https://foreign.example/x" },
      false,
      "mode=navigate, dest=document, site=cross-site",
    ],
    [{ mode: "no-cors", destination: "image" }, false, "mode=no-cors, dest=image, site=same-origin"],
    [{ mode: "cors", destination: "" }, true, "mode=cors, dest=empty, site=same-origin, token=failed"],
  ] as const)("tells of %o (failed: %s)", (over, failed, value) => {
    expect(attach.describe(asked(over as never), ORIGIN, failed ? "" : "T")).toBe(value);
  });
});

describe("rebuild: the worker", () => {
  it("adds the token and keeps every other header", () => {
    const { headers } = build({ headers: new Headers({ range: "bytes=0-3", accept: "text/html", "x-own": "1" }) });
    expect(Object.fromEntries(headers)).toEqual({
      authorization: "Bearer T",
      range: "bytes=0-3",
      accept: "text/html",
      "x-own": "1",
    });
  });

  it("hands the request object on, so that its body moves along untouched", () => {
    const { request, input, init } = build({ method: "POST" });
    expect(input).toBe(request);
    expect(init).not.toHaveProperty("body");
    expect(init).not.toHaveProperty("method");
  });

  it("passes referrer and referrer policy again, because any init resets them", () => {
    const { init } = build({ referrer: `${ORIGIN}/from`, referrerPolicy: "origin" });
    expect(init).toMatchObject({ referrer: `${ORIGIN}/from`, referrerPolicy: "origin" });
  });

  it("sends no referrer rather than its own address in place of a foreign one", () => {
    expect(build({ referrer: "https://foreign.example/" }).init.referrer).toBe("");
  });

  it.each([
    ["cors", "cors"],
    ["same-origin", "same-origin"],
    ["no-cors", "same-origin"],
    ["navigate", "same-origin"],
  ] as const)("sends what was %s as %s", (mode, sent) => {
    expect(build({ mode }).init.mode).toBe(sent);
  });

  it("keeps cache mode and redirect mode", () => {
    const { init } = build({ cache: "no-store", redirect: "manual" });
    expect(init).toMatchObject({ cache: "no-store", redirect: "manual" });
  });

  it("builds a GET navigation from its address, so that Chromium cannot answer it from its own early request", () => {
    expect(build({ mode: "navigate", redirect: "manual" }).input).toBe(`${ORIGIN}/page`);
  });

  it("builds a form navigation from the request, which holds its body", () => {
    const { request, input } = build({ mode: "navigate", method: "POST" });
    expect(input).toBe(request);
  });

  it("adds no header of its own to a cors request, because a foreign redirect target would refuse it", () => {
    expect(build({ mode: "cors" }).headers.has("x-gateway-fetch")).toBe(false);
    expect(build({ mode: "no-cors" }).headers.get("x-gateway-fetch")).toContain("mode=no-cors");
  });

  it("tells of a failed refresh in every mode and sends no Authorization then", () => {
    const { headers } = build({ mode: "cors" }, "");
    expect(headers.get("x-gateway-fetch")).toMatch(/, token=failed$/);
    expect(headers.has("authorization")).toBe(false);
  });
});

describe("mayRepeat: the worker", () => {
  it.each([
    ["no-cors", "GET", true],
    ["no-cors", "HEAD", true],
    ["no-cors", "POST", false],
    ["cors", "GET", false],
    ["navigate", "GET", false],
  ] as const)("repeats %s %s as the browser made it: %s", (mode, method, yes) => {
    expect(attach.mayRepeat(asked({ mode, method }))).toBe(yes);
  });
});
