import { beforeEach, describe, expect, it, vi } from "vitest";
import { receive } from "../src/messages";
import { port } from "./support";

const KEY = "firebase:authUser:key:[DEFAULT]";

const session = { forget: vi.fn(), exists: vi.fn(async () => true), carry: vi.fn() };
const claim = vi.fn(async () => {});
const tell = vi.fn();
const say = (message: unknown, to = port()) =>
  receive(message as never, to, KEY, session, claim, tell).then(() =>
    to.postMessage.mock.calls.map(([reply]) => reply),
  );

beforeEach(() => {
  vi.resetAllMocks();
  session.exists.mockResolvedValue(true);
  claim.mockResolvedValue(undefined);
});

describe("the SDK's messages: the worker", () => {
  it("answers a ping with what it understands", async () => {
    expect(await say({ eventType: "ping", eventId: "7", data: {} })).toEqual([
      { status: "ack", eventId: "7", eventType: "ping" },
      {
        status: "done",
        eventId: "7",
        eventType: "ping",
        response: [{ fulfilled: true, value: expect.arrayContaining(["keyChanged"]) }],
      },
    ]);
    expect(session.forget).not.toHaveBeenCalled();
  });

  it("has forgotten the session before it says that it is done", async () => {
    const to = port();
    const heard: string[] = [];
    session.forget.mockImplementation(() => heard.push("forget"));
    to.postMessage.mockImplementation((reply) => heard.push((reply as { status: string }).status));
    await say({ eventType: "keyChanged", eventId: "8", data: { key: KEY } }, to);
    expect(heard).toEqual(["ack", "forget", "done"]);
  });

  it("tells every page of a sign-out", async () => {
    session.exists.mockResolvedValue(false);
    await say({ eventType: "keyChanged", eventId: "9", data: { key: KEY } });
    expect(tell).toHaveBeenCalledExactlyOnceWith({ type: "signed-out" });
  });

  it.each([
    ["a sign-in", KEY, true],
    ["another record's removal", "firebase:redirectUser:key:[DEFAULT]", false],
  ])("tells nobody of %s", async (_, key, exists) => {
    session.exists.mockResolvedValue(exists);
    await say({ eventType: "keyChanged", eventId: "9", data: { key } });
    expect(tell).not.toHaveBeenCalled();
  });
});

describe("our pages' messages: the worker", () => {
  it("claims the page before it confirms", async () => {
    const to = port();
    const heard: string[] = [];
    claim.mockImplementation(async () => void heard.push("claim"));
    to.postMessage.mockImplementation((reply) => heard.push((reply as { status: string }).status));
    await say({ type: "claim" }, to);
    expect(heard).toEqual(["ack", "claim", "done"]);
  });

  it("claims without a port as well", async () => {
    await receive({ type: "claim" }, undefined, KEY, session, claim, tell);
    expect(claim).toHaveBeenCalledOnce();
  });
});

it.each([[undefined], [null], ["claim"], [42], [{}], [{ type: "SKIP_WAITING" }], [{ eventType: "other" }]])(
  "the worker leaves alone the message %o of somebody else",
  async (message) => {
    expect(await say(message)).toEqual([]);
    expect(claim).not.toHaveBeenCalled();
    expect(session.forget).not.toHaveBeenCalled();
  },
);
