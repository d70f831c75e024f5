/** The page helper of session-gateway: `import { user, signOut } from "/.gateway/session.js"`. */

/** Who is signed in, as the gateway's `userinfo` tells it. */
export interface User {
  readonly uid: string;
  /** Identity Platform tenant, null for users of the project itself. */
  readonly tenant: string | null;
  readonly email: string | null;
  readonly email_verified: boolean;
  readonly name: string | null;
  /** `password`, `google.com`, `saml.acme` and so on. */
  readonly sign_in_provider: string | null;
  /** When the session was begun, in seconds since 1970. */
  readonly auth_time: number;
  /** When the current token ends, in seconds since 1970. The session goes on. */
  readonly expires_at: number;
  /** What the gateway thinks of the network that this request came from. */
  readonly network: string;
  /** The project's own claims. */
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface UserOptions {
  /** Ask the gateway even if it has answered within the last five seconds. */
  readonly fresh?: boolean;
}

export interface SignOutOptions {
  /** End the sessions of this user on all devices. Rejects, and signs nobody out, when that fails. */
  readonly everywhere?: boolean;
  /** Where to go afterwards, in place of this page in the tab's history. */
  readonly returnTo?: string;
}

/**
 * `signedout`: nobody is signed in any more, through whatever tab. `userchanged`: somebody, or somebody else, is.
 * `tokenfailed`: the session has ended at its source and cannot be renewed; signing in again mends it.
 */
export type SessionEvent = "signedout" | "userchanged" | "tokenfailed";
export type Listener = () => void;

/** Registers the service worker. Resolves when the browser has accepted it; rejects when it has not. */
export function register(): Promise<void>;

/** Registers the service worker and resolves when it is active and, where the browser allows it, controls this page. */
export function ready(): Promise<void>;

/** Who is signed in, or null. Rejects when the gateway cannot tell. An answer is used again for five seconds. */
export function user(options?: UserOptions): Promise<User | null>;

/** Leads to the login page and, afterwards, back: to this page or to `returnTo`, a path of this site. */
export function signIn(returnTo?: string): void;

/** Resolves when no request of this browser carries the session any more. */
export function signOut(options?: SignOutOptions): Promise<void>;

/** Calls `listener` at each event of this kind; returns a function that ends that. */
export function on(type: SessionEvent, listener: Listener): () => void;

/**
 * Keeps this page's WebSockets and event streams open past the end of a token, as long as the session lasts: asks who is
 * signed in every two minutes, which renews the token in time. Returns a function that ends that.
 */
export function keepAlive(): () => void;
