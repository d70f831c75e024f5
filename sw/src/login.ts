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
  indexedDBLocalPersistence,
  initializeAuth,
  sendPasswordResetEmail,
  signInWithEmailAndPassword,
  signOut,
} from "@firebase/auth";
import { forgetDepartures } from "./page/bounce";
import { type PageConfig, readConfig } from "./page/config";
import { takeControl, tellWorker } from "./page/control";
import { arrive } from "./page/flow";
import * as view from "./page/view";
import { wordsFor } from "./page/words";
import { readUser, userKey } from "./store";

const config: PageConfig = readConfig(document);
const page = document.documentElement;
page.dataset.site = config.title;

/** The default app's name: the worker looks for its user under it. */
const APP_NAME = "[DEFAULT]";
const KEY = userKey(config.apiKey, APP_NAME);
/** Milliseconds that a sign-out may take: the SDK first finishes what it is waiting for. */
const SIGN_OUT_DEADLINE_MS = 20_000;

function connect(): Auth {
  const { apiKey, authDomain, projectId, emulatorUrl } = config;
  const auth = initializeAuth(initializeApp({ apiKey, authDomain, projectId }), {
    persistence: indexedDBLocalPersistence,
  });
  if (emulatorUrl) connectAuthEmulator(auth, emulatorUrl, { disableWarnings: true });
  auth.useDeviceLanguage();
  return auth;
}

/** Resolves after the record is gone and the worker has forgotten it. */
async function endSession(auth: Auth): Promise<void> {
  await signOut(auth);
  if ("serviceWorker" in navigator) await tellWorker(navigator.serviceWorker, KEY);
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
  if (!("serviceWorker" in navigator)) {
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
  const worker = takeControl(navigator.serviceWorker, config.workerUrl);
  // Looked at where it matters; until then a failure is not "unhandled".
  worker.catch(() => {});
  const auth = connect();
  connectSwitches();
  connectDemo();
  if (!config.passwordReset) document.getElementById("forgot")?.remove();

  const enter = async (): Promise<void> => {
    forgetDepartures(sessionStorage);
    try {
      await worker;
    } catch {
      return noWorker();
    }
    leave();
  };
  onSubmit("signin-form", async (_form, email, password) => {
    await signInWithEmailAndPassword(auth, email, password);
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
  const [entry] = performance.getEntriesByType("navigation") as PerformanceNavigationTiming[];
  const step = await arrive({
    config,
    user: auth.currentUser,
    storage: sessionStorage,
    reloaded: entry?.type === "reload",
    signOut: () => endSession(auth),
    worker,
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
    await Promise.race([auth.authStateReady().then(() => endSession(auth)), late]);
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
