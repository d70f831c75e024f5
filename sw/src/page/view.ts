/** The page's one card: which part of it shows, what it says, and where the focus is. */

import type { Words } from "./words";

export type Part = "signin" | "signup" | "reset" | "again" | "message";

/** `problem` interrupts a screen reader; `note` and `done` wait for it. */
export type Tone = "problem" | "note" | "done";

export interface Action {
  readonly label: string;
  readonly run: () => void;
  readonly quiet?: boolean;
}

/** Milliseconds before a wait is worth a word; a shorter one would only flicker. */
export const PATIENCE_MS = 400;

function find<T extends HTMLElement>(id: string): T {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as T;
}

let patience: ReturnType<typeof setTimeout> | undefined;

/** Hides everything; after a while says that something is going on. */
export function showWaiting(): void {
  clearTimeout(patience);
  for (const part of document.querySelectorAll<HTMLElement>("[data-part]")) part.hidden = true;
  hideNotice();
  patience = setTimeout(() => {
    find("wait").hidden = false;
  }, PATIENCE_MS);
}

/** Shows one part and puts the focus where the next keystroke belongs. */
export function show(name: Part, focus: "field" | "heading" = "field"): void {
  clearTimeout(patience);
  find("wait").hidden = true;
  for (const part of document.querySelectorAll<HTMLElement>("[data-part]")) part.hidden = part.dataset.part !== name;
  const part = document.querySelector<HTMLElement>(`[data-part="${name}"]`);
  const heading = part?.querySelector<HTMLElement>("h1");
  if (heading) document.title = `${heading.textContent} · ${document.documentElement.dataset.site ?? ""}`;
  const inputs = [...(part?.querySelectorAll<HTMLInputElement>("input") ?? [])];
  const empty = inputs.find((input) => !input.value) ?? inputs[0];
  (focus === "field" ? (empty ?? heading) : heading)?.focus({ preventScroll: true });
}

/** A message with buttons instead of a form. */
export function showMessage(title: string, advice: string, actions: readonly Action[]): void {
  hideNotice();
  find("message-title").textContent = title;
  find("message-advice").textContent = advice;
  find("message-actions").replaceChildren(
    ...actions.map(({ label, run, quiet }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = quiet ? "button quiet" : "button";
      button.textContent = label;
      button.addEventListener("click", run);
      return button;
    }),
  );
  show("message", "heading");
}

/** Why the person is here, above the form. */
export function showNotice(title: string, advice: string, tone: Tone): void {
  const notice = find("notice");
  notice.hidden = false;
  notice.dataset.tone = tone;
  notice.setAttribute("role", tone === "problem" ? "alert" : "status");
  find("notice-title").textContent = title;
  find("notice-advice").textContent = advice;
}

export function hideNotice(): void {
  find("notice").hidden = true;
}

/** Words under a form; with a field they belong to it, and it gets the focus. */
export function complain(form: HTMLFormElement, words: Words): void {
  const output = form.querySelector<HTMLElement>(".form-error");
  if (!output) return;
  clearComplaint(form);
  output.textContent = words.text;
  if (words.lang === undefined) output.removeAttribute("lang");
  else output.lang = words.lang;
  const input = words.field && form.querySelector<HTMLInputElement>(`input[name="${words.field}"]`);
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", [input.getAttribute("aria-describedby"), output.id].filter(Boolean).join(" "));
  input.focus();
  input.select();
}

export function clearComplaint(form: HTMLFormElement): void {
  const output = form.querySelector<HTMLElement>(".form-error");
  if (output) output.textContent = "";
  for (const input of form.querySelectorAll("input")) {
    input.removeAttribute("aria-invalid");
    const others = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((id) => id && id !== output?.id);
    if (others.length > 0) input.setAttribute("aria-describedby", others.join(" "));
    else input.removeAttribute("aria-describedby");
  }
}

/** While the answer is out: the form keeps its place and its values, and cannot be sent twice. */
export function setBusy(form: HTMLFormElement, busy: boolean): void {
  form.toggleAttribute("data-busy", busy);
  form.setAttribute("aria-busy", String(busy));
  for (const button of form.querySelectorAll<HTMLButtonElement>("button")) button.disabled = busy;
  // Read-only and not disabled: a disabled field loses the focus and the password manager's interest.
  for (const input of form.querySelectorAll("input")) input.readOnly = busy || "fixed" in input.dataset;
  const submit = form.querySelector<HTMLButtonElement>('button[type="submit"]');
  if (!submit) return;
  submit.dataset.idle ??= submit.textContent ?? "";
  submit.textContent = (busy && submit.dataset.busy) || submit.dataset.idle;
}
