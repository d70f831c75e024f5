/**
 * What pages and the worker say to each other.
 *
 * The worker speaks the dialect of the Firebase JS SDK (`@firebase/auth`, `Receiver` and `Sender`): a controlled page
 * sends `{eventType, eventId, data}` with a port and waits for `ack` and `done` before `signIn…` and `signOut` resolve.
 * Answering is what makes the very next request right. Our own pages add one message, `{type: "claim"}`.
 */

import type { Session } from "./session";

/** From a page that was loaded past the worker (hard reload, first visit): take control of it. */
export interface Claim {
  readonly type: "claim";
}

/** From a page: the record `key` was written or removed. `ping` asks whether somebody understands that. */
export interface SdkMessage {
  readonly eventType: "ping" | "keyChanged";
  readonly eventId: string;
  readonly data: { readonly key?: string };
}

/**
 * To every page: somebody has signed in, or the token is a new one; the user has signed out; the session could not be
 * renewed and will not be tried again.
 */
export interface ToPage {
  readonly type: "signed-in" | "signed-out" | "token-failed";
}

const UNDERSTOOD = ["ping", "keyChanged", "claim"];

/** Answers one message; resolves when everything that it asked for is done. Messages of others are left alone. */
export async function receive(
  message: Partial<Claim & SdkMessage> | undefined,
  port: Pick<MessagePort, "postMessage"> | undefined,
  sessions: readonly Pick<Session, "key" | "changed">[],
  claim: () => Promise<unknown>,
): Promise<void> {
  const { type, eventType = type, eventId, data } = message ?? {};
  if (!eventType || !UNDERSTOOD.includes(eventType)) return;
  const reply = (status: string, response?: unknown) => port?.postMessage({ status, eventId, eventType, response });
  reply("ack");
  try {
    if (eventType === "claim") await claim();
    await sessions.find(({ key }) => key === data?.key)?.changed();
  } finally {
    // The list says what we understand; the SDK then grants us its longer wait.
    reply("done", [{ fulfilled: true, value: UNDERSTOOD }]);
  }
}
