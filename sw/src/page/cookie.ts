/** Tells the gateway of a session and of its end, for what no worker carries. Everything here is best effort. */

/** Longest wait for the gateway, in milliseconds. */
export const TELL_DEADLINE_MS = 2_000;

/** The parts of the page's configuration that matter here. */
export interface Told {
  /** The gateway's reserved path prefix, with a slash at both ends. */
  readonly prefix: string;
  /** Whether the gateway keeps a session cookie. */
  readonly cookie?: boolean;
}

/** Resolves with whether the gateway agreed. Never rejects. */
async function tell(url: string, method: string, token: string | undefined, body?: URLSearchParams): Promise<boolean> {
  try {
    const response = await fetch(url, {
      method,
      headers: token ? { authorization: `Bearer ${token}` } : {},
      ...(body && { body }),
      signal: AbortSignal.timeout(TELL_DEADLINE_MS),
    });
    return response.ok;
  } catch {
    return false;
  }
}

/** Has the session cookie set; resolves with whether there is one now. */
export const setCookie = async ({ prefix, cookie }: Told, token: Promise<string>): Promise<boolean> => {
  const known = cookie && (await token.catch(() => undefined));
  return known ? tell(`${prefix}session`, "POST", known) : false;
};

/**
 * Has this device's session denied and the cookie removed. Without a token it is the cookie's session, as long as that is
 * there: the worker removes it when it hears of a sign-out.
 */
export const endAtGateway = async ({ prefix, cookie }: Told, token: string | undefined): Promise<void> => {
  await Promise.all([
    (token || cookie) && tell(`${prefix}logout`, "POST", token, new URLSearchParams({ scope: "device" })),
    cookie && tell(`${prefix}session`, "DELETE", token),
  ]);
};
