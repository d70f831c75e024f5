/** Stops the page from sending a signed-in person round in circles. */

/** Automatic departures to one address within `WINDOW_MS` after which the next one is not made. */
export const LIMIT = 2;
/** Milliseconds. A person who reloads by hand is slower, and a reload starts the count anew. */
export const WINDOW_MS = 10_000;

const KEY = "gateway:departures";

type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

/** Notes that the page is about to leave for `rd`. False when it has just done so `LIMIT` times and came back. */
export function mayLeave(storage: Storage, rd: string, now: number): boolean {
  let departures: { rd: string; at: number }[] = [];
  try {
    departures = JSON.parse(storage.getItem(KEY) ?? "[]");
    departures = departures.filter(({ at }) => now - at < WINDOW_MS);
  } catch {
    departures = [];
  }
  if (departures.filter((departure) => departure.rd === rd).length >= LIMIT) return false;
  try {
    storage.setItem(KEY, JSON.stringify([...departures, { rd, at: now }]));
  } catch {
    // Storage refused (full, or switched off): without a count there is no guard, and nothing else depends on it.
  }
  return true;
}

/** Starts the count anew: the person did something. */
export function forgetDepartures(storage: Storage): void {
  try {
    storage.removeItem(KEY);
  } catch {
    // As above.
  }
}
