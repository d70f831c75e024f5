/**
 * The login and logout pages: connects the Firebase JS SDK, the service worker and the card.
 *
 * Where to go and why the person came were checked by the gateway and arrive in the page's configuration; nothing is read
 * from the address. Tokens stay with the SDK, in IndexedDB, where the worker finds them.
 */

import { initializeApp } from "@firebase/app";
import {
  type Auth,
  connectAuthEmulator,
  createUserWithEmailAndPassword,
  EmailAuthProvider,
  indexedDBLocalPersistence,
  initializeAuth,
  reauthenticateWithCredential,
  sendPasswordResetEmail,
  signInWithEmailAndPassword,
  signOut,
} from "@firebase/auth";
import { forgetDepartures } from "./page/bounce";
import { type PageConfig, type Reason, readConfig } from "./page/config";
import { takeControl, tellWorker } from "./page/control";
import { endAtGateway, setCookie } from "./page/cookie";
import { arrive } from "./page/flow";
import * as view from "./page/view";
import { wordsFor } from "./page/words";
import { goodToken, readUser, userKey } from "./store";

const config: PageConfig = readConfig(document);
const page = document.documentElement;
page.dataset.site = config.title;

/** Where the worker looks for the user. */
const KEY = userKey(config.apiKey, config.appName);
/** Milliseconds that a sign-out may take: the SDK first finishes what it is waiting for. */
const SIGN_OUT_DEADLINE_MS = 20_000;

function connect(): Auth {
  const { apiKey, appName, authDomain, projectId, emulatorUrl } = config;
  const auth = initializeAuth(initializeApp({ apiKey, authDomain, projectId }, appName), {
    persistence: indexedDBLocalPersistence,
  });
  if (emulatorUrl) connectAuthEmulator(auth, emulatorUrl, { disableWarnings: true });
  auth.useDeviceLanguage();
  return auth;
}

/** Resolves after the record is gone and the worker has forgotten it. */
async function endSession(auth: Auth): Promise<void> {
  const token = goodToken(await readUser(KEY).catch(() => undefined));
  if (!token) await endAtGateway(config, token);
  await signOut(auth);
  if ("serviceWorker" in navigator) await tellWorker(navigator.serviceWorker, KEY);
  if (token) await endAtGateway(config, token);
}

const leave = (): void => location.replace(config.rd || config.homeUrl);
const again: view.Action = { label: "Try again", run: () => location.reload() };
const leaveAccount: view.Action = {
  label: "Sign out",
  quiet: true,
  run: () => location.assign(`${config.prefix}logout`),
};

function noWorker(): void {
  view.showMessage(
    "Your browser did not start the session service.",
    "This site keeps you signed in with a service worker, and it could not be started. Allow site data for this site, " +
      "leave private browsing, or use a current browser, then try again.",
    [again],
  );
}

/** Why a session could not be kept here, whoever signs in; undefined when all is well. */
async function obstacle(): Promise<[title: string, advice: string] | undefined> {
  if (!isSecureContext) {
    return [
      "This page is not served securely.",
      "Sessions need an https address, or http on localhost. Ask whoever runs this site.",
    ];
  }
  if (!("serviceWorker" in navigator) && !config.cookie) {
    return [
      "Your browser cannot keep a session here.",
      "This site needs service workers. Leave private browsing, or use a current browser.",
    ];
  }
  try {
    await readUser(KEY);
  } catch {
    return [
      "Your browser does not let this site store a session.",
      "Allow site data for this site, or leave private browsing, then try again.",
    ];
  }
  return undefined;
}

/** Runs a form's deed with the button busy; on failure says why and gives the form back. */
function onSubmit(id: string, deed: (form: HTMLFormElement, email: string, password: string) => Promise<void>): void {
  const form = document.getElementById(id) as HTMLFormElement;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.hasAttribute("data-busy")) return;
    view.clearComplaint(form);
    const values = new FormData(form);
    const email = String(values.get("email") ?? "").trim();
    const password = String(values.get("password") ?? "");
    try {
      if (!email) throw { code: "auth/missing-email" };
      if (values.has("password") && !password) throw { code: "auth/missing-password" };
      view.setBusy(form, true);
      await deed(form, email, password);
    } catch (error) {
      view.setBusy(form, false);
      view.complain(form, wordsFor(error));
    }
  });
}

/** Buttons that lead from one form to another take the address along. */
function connectSwitches(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-to]")) {
    button.addEventListener("click", () => {
      const from = button.closest("[data-part]")?.querySelector<HTMLInputElement>('input[name="email"]')?.value ?? "";
      const to = button.dataset.to as view.Part;
      view.hideNotice();
      for (const form of document.querySelectorAll("form")) view.clearComplaint(form);
      const email = document.querySelector<HTMLInputElement>(`[data-part="${to}"] input[name="email"]`);
      if (email && from) email.value = from;
      view.show(to);
    });
  }
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-reveal]")) {
    button.addEventListener("click", () => {
      const input = document.getElementById(button.dataset.reveal ?? "") as HTMLInputElement;
      const reveal = input.type === "password";
      input.type = reveal ? "text" : "password";
      button.textContent = reveal ? "Hide" : "Show";
      button.setAttribute("aria-label", reveal ? "Hide password" : "Show password");
      input.focus();
    });
  }
}

function connectDemo(): void {
  const { demo } = config;
  const box = document.getElementById("demo");
  if (!demo || !box) return;
  box.hidden = false;
  const shown = document.getElementById("demo-email");
  if (shown) shown.textContent = demo.email;
  document.getElementById("demo-use")?.addEventListener("click", () => {
    const form = document.getElementById("signin-form") as HTMLFormElement;
    for (const [name, value] of Object.entries(demo)) {
      const input = form.querySelector<HTMLInputElement>(`input[name="${name}"]`);
      if (input) input.value = value;
    }
    form.requestSubmit();
  });
}

async function login(): Promise<void> {
  view.showWaiting();
  const problem = await obstacle();
  if (problem) return view.showMessage(...problem, [again]);
  const auth = connect();
  const control = config.workerUrl
    ? takeControl(navigator.serviceWorker, config.workerUrl)
    : Promise.reject(new Error("this site has no service worker"));
  // Looked at where it matters; until then a failure is not "unhandled".
  control.catch(() => {});
  let hasCookie = false;
  const renewCookie = async (): Promise<void> => {
    hasCookie = !!auth.currentUser && (await setCookie(config, auth.currentUser.getIdToken()));
  };
  /** Resolves when something will carry the session: the worker, or else the cookie. */
  const carrier = (): Promise<void> =>
    control.catch((error) => {
      if (!hasCookie) throw error;
    });
  connectSwitches();
  connectDemo();
  if (!config.passwordReset) document.getElementById("forgot")?.remove();

  const enter = async (): Promise<void> => {
    forgetDepartures(sessionStorage);
    await renewCookie();
    try {
      await carrier();
    } catch {
      return noWorker();
    }
    leave();
  };
  onSubmit("signin-form", async (_form, email, password) => {
    await signInWithEmailAndPassword(auth, email, password);
    await enter();
  });
  onSubmit("again-form", async (_form, email, password) => {
    if (!auth.currentUser) throw { code: "auth/null-user" };
    await reauthenticateWithCredential(auth.currentUser, EmailAuthProvider.credential(email, password));
    await enter();
  });
  onSubmit("signup-form", async (_form, email, password) => {
    await createUserWithEmailAndPassword(auth, email, password);
    await enter();
  });
  onSubmit("reset-form", async (form, email) => {
    await requestReset(auth, email);
    view.setBusy(form, false);
    const signIn = document.querySelector<HTMLInputElement>('#signin-form input[name="email"]');
    if (signIn) signIn.value = email;
    view.show("signin", "heading");
    view.showNotice(
      "Check your mail.",
      `If there is an account for ${email}, a link to choose a new password is on its way.`,
      "done",
    );
  });

  await auth.authStateReady();
  // Before anything is asked: a cookie of whoever was here before would contradict this user.
  await renewCookie();
  const [entry] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  const step = await arrive({
    config,
    user: auth.currentUser,
    storage: sessionStorage,
    reloaded: entry?.type === "reload",
    signOut: () => endSession(auth),
    carrier,
    now: Date.now,
  });
  switch (step.kind) {
    case "leave":
      return leave();
    case "no-worker":
      return noWorker();
    case "unavailable":
      return view.showMessage(step.because.title, step.because.advice, [again, leaveAccount]);
    case "circling":
      return view.showMessage(step.because.title, step.because.advice, [again, leaveAccount]);
    case "prove":
      return prove(auth, step.because);
    case "form":
      if (!config.providers.includes("password")) {
        return view.showMessage(
          "There is no way to sign in.",
          "Signing in with a password is switched off. Ask whoever runs this site.",
          [],
        );
      }
      view.show("signin");
      if (step.because) view.showNotice(step.because.title, step.because.advice, "problem");
  }
}

/** Asks for the password of whoever is signed in; says what to do where a password is not what is missing. */
function prove(auth: Auth, { title, advice }: Reason): void {
  const user = auth.currentUser;
  const hasPassword = user?.providerData.some(({ providerId }) => providerId === EmailAuthProvider.PROVIDER_ID);
  const input = document.querySelector<HTMLInputElement>('#again-form input[name="email"]');
  if (config.reason === "step_up_auth_age" && user?.email && hasPassword && input) {
    input.value = user.email;
    view.show("again");
    view.showNotice(title, advice, "note");
    return;
  }
  const what = config.reason === "step_up_auth_age" ? "Sign out and in again to open this page." : advice;
  view.showMessage(title, what, [{ label: "Start page", run: () => location.assign(config.homeUrl) }, leaveAccount]);
}

/** Sends the link. Says the same whether or not there is such an account (e-mail enumeration protection). */
async function requestReset(auth: Auth, email: string): Promise<void> {
  const back = new URL(`${config.prefix}login?rd=${encodeURIComponent(config.rd)}`, location.origin);
  try {
    // A project that does not list this origin refuses the way back, but sends the link without one.
    await sendPasswordResetEmail(auth, email, { url: back.href }).catch((error) => {
      if (!/continue-uri/.test(error?.code)) throw error;
      return sendPasswordResetEmail(auth, email);
    });
  } catch (error) {
    if ((error as { code?: string }).code !== "auth/user-not-found") throw error;
  }
}

async function logout(): Promise<void> {
  view.showWaiting();
  try {
    const auth = connect();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("sign-out takes too long")), SIGN_OUT_DEADLINE_MS);
    });
    const done = auth.authStateReady().then(() => endSession(auth));
    await Promise.race([done, late]);
    clearTimeout(timer);
    forgetDepartures(sessionStorage);
  } catch {
    return view.showMessage(
      "You could not be signed out.",
      "The browser did not answer in time, and you may still be signed in. Try again, or clear this site's data.",
      [again],
    );
  }
  if (config.rd) return leave();
  view.showMessage("You are signed out.", "You can close this page, or sign in again.", [
    { label: "Sign in again", run: () => location.assign(`${config.prefix}login`) },
    { label: "Start page", quiet: true, run: () => location.assign(config.homeUrl) },
  ]);
}

// A page from the back/forward cache was decided for somebody who may have gone since.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  view.showWaiting();
  location.reload();
});

const run = page.dataset.page === "logout" ? logout : login;
run().catch(() => {
  view.showMessage("This page could not start.", "Reload it, and tell whoever runs this site if that does not help.", [
    again,
  ]);
});
