/** What the gateway tells the login and logout pages, in `<meta name="gateway-config">`. */

/** One row of the gateway's table of reasons, as a person reads it. */
export interface Reason {
  readonly title: string;
  readonly advice: string;
  /** The browser's session can never become good again: sign it out before anything else. */
  readonly signOut: boolean;
  /** The session is good, and the page behind asks for more proof of the same person. */
  readonly stepUp: boolean;
}

export interface PageConfig {
  readonly apiKey: string;
  readonly authDomain: string;
  readonly projectId: string;
  /** Origin of an identity provider that answers like the Auth emulator; empty for Google's own service. */
  readonly emulatorUrl: string;
  /** Empty when the site has switched its worker off. */
  readonly workerUrl: string;
  /** Name of the Firebase app that people sign in to. */
  readonly appName: string;
  /** Whether the gateway keeps a session cookie. */
  readonly cookie: boolean;
  /** The gateway's reserved path prefix, with a slash at both ends. */
  readonly prefix: string;
  readonly providers: readonly string[];
  readonly title: string;
  readonly homeUrl: string;
  /** Where to go afterwards: a path on this origin, checked by the gateway. Empty on a logout page without one. */
  readonly rd: string;
  /** Id of the reason that brought the person here, checked by the gateway; empty when there is none. */
  readonly reason: string;
  readonly reasons: Readonly<Record<string, Reason>>;
  readonly passwordReset: boolean;
  readonly demo?: { readonly email: string; readonly password: string };
}

/** Raises an Error when the page was not served by the gateway. */
export function readConfig(page: Pick<Document, "querySelector">): PageConfig {
  const content = page.querySelector<HTMLMetaElement>('meta[name="gateway-config"]')?.content;
  if (!content) throw new Error("this page has no gateway-config");
  return JSON.parse(content) as PageConfig;
}
