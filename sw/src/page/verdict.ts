/** Asks the gateway what it thinks of a session, so that nobody is sent to a page that will send them back. */

import type { PageConfig, Reason } from "./config";

export type Verdict =
  | { readonly kind: "accepted" }
  | { readonly kind: "refused"; readonly id: string; readonly reason: Reason }
  | { readonly kind: "unavailable"; readonly reason: Reason };

/** The parts of the SDK's user that matter here. */
export interface Holder {
  getIdToken(forceRefresh?: boolean): Promise<string>;
}

const UNAVAILABLE: Reason = {
  title: "Your session cannot be checked right now.",
  advice: "You are still signed in. Try again in a moment.",
  signOut: false,
  stepUp: false,
};
const REFUSED: Reason = {
  title: "Your session was not accepted.",
  advice: "Sign in again.",
  signOut: false,
  stepUp: false,
};

/** RFC 9457, with the gateway's `code`. */
interface Problem {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
}

async function ask(token: string, config: PageConfig): Promise<Verdict> {
  // A header of its own: the worker leaves the request alone, so the answer is about this token and no other.
  const response = await fetch(`${config.prefix}userinfo`, {
    headers: { authorization: `Bearer ${token}`, accept: "application/json" },
    cache: "no-store",
  });
  if (response.ok) return { kind: "accepted" };
  const problem = (await response.json().catch(() => ({}))) as Problem;
  const id = problem.code ?? "";
  const known = config.reasons[id];
  if (response.status >= 500) return { kind: "unavailable", reason: UNAVAILABLE };
  const { title = REFUSED.title, detail = REFUSED.advice } = problem;
  return { kind: "refused", id, reason: known ?? { title, advice: detail, signOut: false, stepUp: false } };
}

/**
 * The gateway's answer to the stored session. A refusal that a new token could mend is asked about once more with one.
 * Never rejects: without an answer the session is neither good nor bad.
 */
export async function judge(user: Holder, config: PageConfig): Promise<Verdict> {
  try {
    const first = await ask(await user.getIdToken(), config);
    if (first.kind !== "refused" || first.reason.signOut) return first;
    return await ask(await user.getIdToken(true), config);
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    const ended =
      code.startsWith("auth/") && code !== "auth/network-request-failed" && code !== "auth/too-many-requests";
    return ended ? { kind: "refused", id: "", reason: REFUSED } : { kind: "unavailable", reason: UNAVAILABLE };
  }
}
