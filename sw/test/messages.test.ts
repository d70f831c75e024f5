import { beforeEach, describe, expect, it, vi } from "vitest";
import { receive } from "../src/messages";
import { KEY, port } from "./support";

const session = { key: KEY, changed: vi.fn(async () => {}) };
const other = { key: "firebase:authUser:key:other", changed: vi.fn(async () => {}) };
const claim = vi.fn(async () => {});
const say = (message: unknown, to = port()) =>
  receive(message as never, to, [other, session], claim).then(() => to.postMessage.mock.calls.map(([reply]) => reply));

beforeEach(() => {
  vi.resetAllMocks();
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
    expect(session.changed).not.toHaveBeenCalled();
  });

  it("has dealt with the change before it says that it is done", async () => {
    const to = port();
    const heard: string[] = [];
    session.changed.mockImplementation(async () => {
      heard.push("begins");
      await Promise.resolve();
      heard.push("ends");
    });
    to.postMessage.mockImplementation((reply) => heard.push((reply as { status: string }).status));
    await say({ eventType: "keyChanged", eventId: "8", data: { key: KEY } }, to);
    expect(heard).toEqual(["ack", "begins", "ends", "done"]);
  });

  it("is done even when the record cannot be read, so that the page need not wait", async () => {
    session.changed.mockRejectedValue(new Error("IndexedDB"));
    const to = port();
    await expect(say({ eventType: "keyChanged", eventId: "8", data: { key: KEY } }, to)).rejects.toThrow();
    expect(to.postMessage).toHaveBeenLastCalledWith(expect.objectContaining({ status: "done" }));
  });

  it("deals with the session whose record it is, and with no other", async () => {
    await say({ eventType: "keyChanged", eventId: "9", data: { key: other.key } });
    expect(other.changed).toHaveBeenCalledOnce();
    expect(session.changed).not.toHaveBeenCalled();
    await say({ eventType: "keyChanged", eventId: "9", data: { key: "firebase:redirectUser:key:[DEFAULT]" } });
    expect(session.changed).not.toHaveBeenCalled();
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
    await receive({ type: "claim" }, undefined, [session], claim);
    expect(claim).toHaveBeenCalledOnce();
  });
});

it.each([[undefined], [null], ["claim"], [42], [{}], [{ type: "SKIP_WAITING" }], [{ eventType: "other" }]])(
  "the worker leaves alone the message %o of somebody else",
  async (message) => {
    expect(await say(message)).toEqual([]);
    expect(claim).not.toHaveBeenCalled();
    expect(session.changed).not.toHaveBeenCalled();
  },
);
