import { expect, it, vi } from "vitest";
import type { GatewaySession } from "../src/api";
import { ORIGIN } from "./support";

async function evaluate(script: string) {
  vi.resetModules();
  const listeners: Record<string, (event: never) => void> = {};
  const scope = {
    __GATEWAY__: { path: "/service-worker.js" },
    location: new URL(script, ORIGIN),
    skipWaiting: vi.fn(),
    registration: { unregister: vi.fn(async () => true) },
    addEventListener: (type: string, listener: (event: never) => void) => {
      listeners[type] = listener;
    },
    gatewaySession: undefined as unknown as GatewaySession,
  };
  vi.stubGlobal("self", scope);
  await import("../src/off" as string);
  return { scope, listeners };
}

it("the worker that is switched off removes itself and touches nothing else", async () => {
  const { scope, listeners } = await evaluate("/service-worker.js");
  expect(Object.keys(listeners).sort()).toEqual(["activate", "install"]);
  listeners.install?.({} as never);
  expect(scope.skipWaiting).toHaveBeenCalledOnce();
  const waitUntil = vi.fn();
  listeners.activate?.({ waitUntil } as never);
  await waitUntil.mock.calls[0]?.[0];
  expect(scope.registration.unregister).toHaveBeenCalledOnce();
});

it("an app's own worker that imports what is switched off stays, and finds a session that adds nothing", async () => {
  const { scope, listeners } = await evaluate("/app-worker.js");
  expect(listeners).toEqual({});
  const request = new Request(ORIGIN);
  expect(await scope.gatewaySession.authenticate(request)).toBe(request);
  expect(scope.gatewaySession.handle({} as never)).toBeUndefined();
});
