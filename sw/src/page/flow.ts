/** The way of a person through the login page: who is sent on, who sees the form, and why. */

import { forgetDepartures, mayLeave } from "./bounce";
import type { PageConfig, Reason } from "./config";
import { type Holder, judge } from "./verdict";

/** What the page shows next. */
export type Step =
  | { readonly kind: "leave" }
  | { readonly kind: "form"; readonly because?: Reason }
  | { readonly kind: "prove"; readonly because: Reason }
  | { readonly kind: "unavailable"; readonly because: Reason }
  | { readonly kind: "no-worker" }
  | { readonly kind: "circling"; readonly because: Reason };

/** What the decision needs from the browser and the SDK. */
export interface Surroundings {
  readonly config: PageConfig;
  readonly user: Holder | null;
  readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  /** The person reloaded, so coming back here says nothing about a circle. */
  readonly reloaded: boolean;
  readonly signOut: () => Promise<void>;
  /** Resolves when something will carry the session on; rejects when nothing will. */
  readonly carrier: () => Promise<void>;
  readonly now: () => number;
}

const CIRCLING: Reason = {
  title: "The page keeps sending you back here.",
  advice: "You are signed in, but the site does not see it. Try again, or sign out and start over.",
  signOut: false,
  stepUp: false,
};

/** The reason in the address, where it tells a person more than that there is a login page. */
function arrivedBecause({ reason, reasons }: PageConfig): Reason | undefined {
  return reason === "sign_in_required" ? undefined : reasons[reason];
}

/**
 * Decides what someone who opens the login page gets to see.
 *
 * The gateway is asked about the session before the person is sent on: a session that it refuses for good is signed out
 * first, so the reason in the address alone never signs anybody out.
 */
export async function arrive({ config, user, storage, reloaded, signOut, carrier, now }: Surroundings): Promise<Step> {
  const because = arrivedBecause(config);
  if (!user) return because ? { kind: "form", because } : { kind: "form" };
  const verdict = await judge(user, config);
  if (verdict.kind === "unavailable") return { kind: "unavailable", because: verdict.reason };
  if (verdict.kind === "refused") {
    if (verdict.reason.signOut) await signOut();
    return { kind: "form", because: verdict.reason };
  }
  // The session is good as far as it goes: sent on as it is, the person would only come back.
  if (because?.stepUp) return { kind: "prove", because };
  try {
    await carrier();
  } catch {
    return { kind: "no-worker" };
  }
  if (reloaded) forgetDepartures(storage);
  if (!mayLeave(storage, config.rd, now())) return { kind: "circling", because: because ?? CIRCLING };
  return { kind: "leave" };
}
