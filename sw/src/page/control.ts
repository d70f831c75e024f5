/** Gets the service worker in place before the person is sent on, so that the next navigation carries the session. */

import type { Claim } from "../messages";

/** Milliseconds for download, installation and activation. */
export const READY_DEADLINE_MS = 15_000;
/** Milliseconds for the active worker to take control of this page; the next navigation does not depend on it. */
export const CLAIM_DEADLINE_MS = 1_500;

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
