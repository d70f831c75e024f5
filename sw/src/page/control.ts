/** Gets the service worker in place before the person is sent on, so that the next navigation carries the session. */

import type { Claim, SdkMessage } from "../messages";

/** Milliseconds for download, installation and activation. */
export const READY_DEADLINE_MS = 15_000;
/** Milliseconds for the active worker to take control of this page; the next navigation does not depend on it. */
export const CLAIM_DEADLINE_MS = 1_500;

/** Milliseconds for the worker to confirm that it has forgotten a session; it looks for itself a little later anyway. */
export const FORGET_DEADLINE_MS = 1_000;

const after = (milliseconds: number): Promise<"late"> =>
  new Promise((resolve) => setTimeout(() => resolve("late"), milliseconds));

/**
 * Resolves once the worker is active and, where the browser allows it, controls this page. Rejects when there is no worker.
 *
 * A page that was loaded past the worker (hard reload) stays uncontrolled until the worker is asked to claim it.
 */
export async function takeControl(workers: ServiceWorkerContainer, url: string): Promise<void> {
  await workers.register(url, { scope: "/", updateViaCache: "none" });
  const registration = await Promise.race([workers.ready, after(READY_DEADLINE_MS)]);
  if (registration === "late") throw new Error("the service worker did not start");
  if (workers.controller) return;
  const controlled = new Promise<void>((resolve) => {
    workers.addEventListener("controllerchange", () => resolve(), { once: true });
  });
  registration.active?.postMessage({ type: "claim" } satisfies Claim);
  if (workers.controller) return;
  await Promise.race([controlled, after(CLAIM_DEADLINE_MS)]);
}

/**
 * Resolves once the worker has forgotten the session whose record is `key`. The SDK tells a worker only where that
 * controls the page and has answered a first greeting; whoever signs out at once, or after a hard reload, needs this.
 */
export async function tellWorker(workers: ServiceWorkerContainer, key: string): Promise<void> {
  const active = workers.controller ?? (await workers.getRegistration("/"))?.active;
  if (!active) return;
  const { port1, port2 } = new MessageChannel();
  const done = new Promise<void>((resolve) => {
    port1.onmessage = ({ data }) => data.status === "done" && resolve();
  });
  active.postMessage({ eventType: "keyChanged", eventId: "sign-out", data: { key } } satisfies SdkMessage, [port2]);
  await Promise.race([done, after(FORGET_DEADLINE_MS)]);
  port1.close();
}
