import { describe, expect, it, vi } from "vitest";
import { CLAIM_DEADLINE_MS, READY_DEADLINE_MS, takeControl, tellWorker } from "../../src/page/control";

/** A worker container; `active` answers messages the way `onMessage` does. */
function container(over: { controller?: unknown; ready?: Promise<unknown>; register?: Promise<unknown> } = {}) {
  const target = new EventTarget();
  const active = { postMessage: vi.fn() };
  const workers = Object.assign(target, {
    controller: over.controller ?? null,
    register: vi.fn(() => over.register ?? Promise.resolve({})),
    ready: over.ready ?? Promise.resolve({ active }),
    getRegistration: vi.fn(async () => ({ active }) as unknown),
  });
  return { active, workers, take: () => takeControl(workers as never, "/service-worker.js") };
}

describe("takeControl: the login page", () => {
  it("registers the worker for the whole site and never from the HTTP cache", async () => {
    const { workers, active, take } = container({ controller: {} });
    await take();
    expect(workers.register).toHaveBeenCalledWith("/service-worker.js", { scope: "/", updateViaCache: "none" });
    expect(active.postMessage).not.toHaveBeenCalled();
  });

  it("asks to be claimed after a hard reload and waits for it", async () => {
    const { workers, active, take } = container();
    active.postMessage.mockImplementation((message) => {
      expect(message).toEqual({ type: "claim" });
      queueMicrotask(() => workers.dispatchEvent(new Event("controllerchange")));
    });
    await take();
    expect(active.postMessage).toHaveBeenCalledOnce();
  });

  it("goes on when it is not claimed in time, for the next navigation does not depend on it", async () => {
    vi.useFakeTimers();
    const done = container().take();
    await vi.advanceTimersByTimeAsync(CLAIM_DEADLINE_MS);
    await expect(done).resolves.toBeUndefined();
    vi.useRealTimers();
  });

  it("fails when the worker does not start in time", async () => {
    vi.useFakeTimers();
    const done = expect(container({ ready: new Promise(() => {}) }).take()).rejects.toThrow(/did not start/);
    await vi.advanceTimersByTimeAsync(READY_DEADLINE_MS);
    await done;
    vi.useRealTimers();
  });

  it("fails when the worker cannot be registered", async () => {
    const { take } = container({ register: Promise.reject(new Error("refused")) });
    await expect(take()).rejects.toThrow("refused");
  });
});

describe("tellWorker: the login page", () => {
  const answering = () => ({
    postMessage: vi.fn((message: { eventId: string }, [port]: [MessagePort]) => {
      port.postMessage({ status: "ack", eventId: message.eventId });
      port.postMessage({ status: "done", eventId: message.eventId });
    }),
  });

  it("waits until the worker has forgotten the session", async () => {
    const controller = answering();
    await tellWorker(container({ controller }).workers as never, "the-key");
    expect(controller.postMessage.mock.calls[0]?.[0]).toMatchObject({
      eventType: "keyChanged",
      data: { key: "the-key" },
    });
  });

  it("finds the worker of a page that it does not control", async () => {
    const active = answering();
    const { workers } = container();
    workers.getRegistration.mockResolvedValue({ active });
    await tellWorker(workers as never, "the-key");
    expect(active.postMessage).toHaveBeenCalledOnce();
  });

  it("has nothing to do where there is no worker", async () => {
    const { workers } = container();
    workers.getRegistration.mockResolvedValue(undefined);
    await expect(tellWorker(workers as never, "the-key")).resolves.toBeUndefined();
  });
});
