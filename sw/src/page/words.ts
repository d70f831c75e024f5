/** What a person reads when the identity provider refuses. */

import { languageOf, localized } from "./refusals";

/** Which input the words are about; undefined: none in particular. */
export type Field = "email" | "password";

export interface Words {
  readonly text: string;
  readonly field?: Field;
  /** Language of the words, where it may be another than the page's: BCP 47, or empty for an unknown one. */
  readonly lang?: string;
}

const WRONG = "E-mail or password is not right.";
const AGAIN = "Something went wrong on the way. Please try again.";
const EXPIRED = "Your session has ended. Please sign in again.";
const MISCONFIGURED = "Sign-in is not set up correctly on this site. Please tell whoever runs it.";
const LINK = "This link is no longer good. Ask for a new one.";
const NOT_ALLOWED = "This way to sign in is not switched on for this site.";
const SECOND_FACTOR = "This account needs a second step to sign in, which this page does not offer yet.";
const ROBOT = "The check against automated sign-ins failed. Reload the page and try again.";
const STORAGE =
  "This browser does not let the page keep a session. Allow site data, or leave private mode, and try again.";

/** Code of the SDK, without `auth/`. The table follows identity-toolkit.md section 2 and the SDK's `AuthErrorCodes`. */
const TABLE: Readonly<Record<string, Words>> = {
  "invalid-credential": { text: WRONG, field: "password" },
  "wrong-password": { text: WRONG, field: "password" },
  "user-not-found": { text: WRONG, field: "password" },
  "invalid-login-credentials": { text: WRONG, field: "password" },
  "invalid-email": { text: "That does not look like an e-mail address.", field: "email" },
  "missing-email": { text: "Enter your e-mail address.", field: "email" },
  "missing-password": { text: "Enter your password.", field: "password" },
  "weak-password": { text: "Choose a longer password: at least 6 characters.", field: "password" },
  "password-does-not-meet-requirements": { text: "Choose a stronger password.", field: "password" },
  "unsupported-password-policy-schema-version": { text: "Choose a stronger password.", field: "password" },
  "email-already-in-use": { text: "There is an account with this address already. Sign in instead.", field: "email" },
  "credential-already-in-use": { text: "There is an account with these details already. Sign in instead." },
  "account-exists-with-different-credential": {
    text: "There is an account with this address already. Sign in the way you did before.",
    field: "email",
  },
  "user-disabled": { text: "This account has been disabled. Ask whoever runs this site." },
  "too-many-requests": { text: "Too many attempts. Wait a few minutes, then try again." },
  "quota-exceeded": { text: "This site is too busy to sign anyone in right now. Try again later." },
  "network-request-failed": { text: "The sign-in service cannot be reached. Check your connection and try again." },
  timeout: { text: "The sign-in service took too long. Please try again." },
  "operation-not-allowed": { text: NOT_ALLOWED },
  "admin-restricted-operation": { text: "New accounts are created by an administrator. Ask whoever runs this site." },
  "unauthorized-domain": { text: MISCONFIGURED },
  "unauthorized-continue-uri": { text: MISCONFIGURED },
  "invalid-continue-uri": { text: MISCONFIGURED },
  "missing-continue-uri": { text: MISCONFIGURED },
  "invalid-api-key": { text: MISCONFIGURED },
  "api-key-not-valid.-please-pass-a-valid-api-key.": { text: MISCONFIGURED },
  "app-not-authorized": { text: MISCONFIGURED },
  "argument-error": { text: MISCONFIGURED },
  "auth-domain-config-required": { text: MISCONFIGURED },
  "configuration-not-found": { text: MISCONFIGURED },
  "project-not-found": { text: MISCONFIGURED },
  "invalid-tenant-id": { text: MISCONFIGURED },
  "tenant-id-mismatch": { text: MISCONFIGURED },
  "unsupported-tenant-operation": { text: NOT_ALLOWED },
  "emulator-config-failed": { text: MISCONFIGURED },
  "firebase-app-check-token-is-invalid": { text: ROBOT },
  "missing-recaptcha-token": { text: ROBOT },
  "invalid-recaptcha-token": { text: ROBOT },
  "invalid-recaptcha-action": { text: ROBOT },
  "recaptcha-not-enabled": { text: ROBOT },
  "captcha-check-failed": { text: ROBOT },
  "multi-factor-auth-required": { text: SECOND_FACTOR },
  "unsupported-first-factor": { text: SECOND_FACTOR },
  "requires-recent-login": { text: EXPIRED },
  "user-token-expired": { text: EXPIRED },
  "invalid-user-token": { text: EXPIRED },
  "user-signed-out": { text: EXPIRED },
  "null-user": { text: EXPIRED },
  "user-mismatch": { text: "That is another account than the one you are signed in with.", field: "email" },
  "user-cancelled": { text: "The sign-in was cancelled." },
  "expired-action-code": { text: LINK },
  "invalid-action-code": { text: LINK },
  "unverified-email": { text: "Confirm your e-mail address first: open the link in the message that was sent to you." },
  "web-storage-unsupported": { text: STORAGE },
};

/** Characters of a function's own words that are shown. They were written for a person, but by another program. */
const REFUSAL_LIMIT = 500;

/** How the SDK dresses a server's words: `Firebase: … (auth/code).` */
const undress = (message: string): string =>
  message.replace(/^Firebase:\s*/, "").replace(/\s*\(auth\/[^)]*\)\.?\s*$/, "");

function unquote(text: string): string {
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}

/**
 * The sentence that a blocking function wrote for the person, or undefined when the text is not a function's refusal;
 * an empty sentence when the function failed without one. Three forms are in use (blocking-functions.md section 3.6): the
 * documented `… Code: 400, Status: "…", Message: "…"`, the raw body of the function's answer, and the emulator's, which
 * wraps that body. The SDK cuts the text at ` : `, so a body may be incomplete.
 */
export function refusal(message: string): string | undefined {
  const text = undress(message).replace(/^BLOCKING_FUNCTION_ERROR_RESPONSE\s*:\s*/, "");
  if (!/^(HTTP Cloud Function|Cloud function|\(\()/i.test(text) && !message.includes("BLOCKING_FUNCTION"))
    return undefined;
  const documented = /\bMessage:\s*"([\s\S]*)"/.exec(text) ?? /"message"\s*:\s*"((?:[^"\\]|\\.)*)/.exec(text);
  return unquote(documented?.[1] ?? "")
    .trim()
    .slice(0, REFUSAL_LIMIT);
}

/** Words for anything that a call of the SDK rejects with; a function's in the first of `preferred` that we have. */
export function wordsFor(error: unknown, preferred: readonly string[] = navigator.languages): Words {
  const { code = "", message = "" } = (error ?? {}) as { code?: string; message?: string };
  const id = code.replace(/^auth\//, "");
  const refused = id === "internal-error" || id.startsWith("blocking-function") ? refusal(message) : undefined;
  if (refused !== undefined) {
    const language = languageOf(preferred);
    const text = localized(refused, language);
    // Nobody knows which language a function's own words are in.
    return text === undefined ? { text: refused, lang: "" } : { text, lang: language };
  }
  if (id === "password-does-not-meet-requirements") {
    // The server lists what is missing: `Missing password requirements: [one, two]`.
    const missing = /\[([^\]]+)\]/.exec(message)?.[1];
    if (missing) return { text: `Choose a stronger password. ${missing.split(", ").join(". ")}.`, field: "password" };
  }
  const known = TABLE[id];
  if (known) return known;
  return { text: id && id !== "internal-error" ? `${AGAIN} (${id})` : AGAIN };
}
