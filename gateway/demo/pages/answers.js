// Shows the gateway's answers in plain words. Reads nothing but the responses themselves.

const MEANINGS = {
  sign_in_required: "The call carried no session at all. For a script the gateway says so with a 401; a page visit would have been sent to the login page.",
  network_changed: "The token is genuine and not expired, but it was issued to somebody at another network address. The gateway asks for a new sign-in instead of trusting a token that may have been carried off.",
  session_revoked: "The token is genuine and would be good for up to an hour. The identity provider ended the session, and the gateway noticed.",
  user_disabled: "The account has been switched off, so its sessions count for nothing.",
  user_not_found: "The account is gone, so its sessions count for nothing.",
  token_expired: "The token has outlived its hour and was not renewed.",
  token_refresh_failed: "The worker could not renew the session, so the call went without one.",
  cross_site: "Another site started this request, and a session must not be used that way.",
  forwarded_invalid: "The pretended address is not an address, so the gateway refuses rather than guesses.",
  keys_unavailable: "The gateway cannot check signatures at the moment, so it lets nobody in.",
  revocation_unavailable: "The gateway cannot ask whether sessions still stand, so it lets nobody in.",
  upstream_unreachable: "The gateway let the call through, but the backend does not answer.",
  upstream_timeout: "The gateway let the call through, but the backend took too long.",
  body_too_large: "The upload is larger than the gateway accepts.",
};

const TONES = { 2: "allow", 3: "challenge", 4: "challenge", 5: "deny" };

/** Makes an element: `node("p", { className: "soft" }, "text", otherNode)`. Text never becomes markup. */
export function node(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What a response says: `{ status, ok, code, title, detail, loginUrl, body }`. */
export async function read(response) {
  const type = response.headers.get("content-type") ?? "";
  const body = type.includes("json") ? await response.json().catch(() => null) : null;
  const problem = response.ok ? null : body;
  return {
    status: response.status,
    ok: response.ok,
    code: problem?.code ?? "",
    title: problem?.title ?? "",
    detail: problem?.detail ?? "",
    body,
  };
}

/** One answer as a block: status, reason id, title, meaning; `intro` says which call it answers. */
export function answer(said, { intro = "", meaning = "", next = null } = {}) {
  const tone = said.code && said.status === 403 ? "deny" : (TONES[Math.floor(said.status / 100)] ?? "deny");
  const title = said.ok ? "Allowed: the request reached the backend." : said.title;
  const words = meaning || MEANINGS[said.code] || (said.detail === said.title ? "" : said.detail);
  const block = node(
    "div",
    { className: "answer" },
    intro ? node("p", { className: "answer-intro" }, intro) : null,
    node(
      "p",
      { className: "answer-head" },
      node("span", { className: "badge" }, String(said.status)),
      " ",
      said.code ? node("code", {}, said.code) : null,
      " ",
      title ? node("span", { className: "answer-title" }, title) : null,
    ),
    words ? node("p", {}, words) : null,
    next,
  );
  block.dataset.tone = tone;
  return block;
}

/** A line for something that went wrong before there was an answer, or a plain note. */
export function note(text, tone = "deny") {
  const block = node("div", { className: "answer" }, node("p", {}, text));
  block.dataset.tone = tone;
  return block;
}

/** A link for what a page visit would do next. */
export function visit(path, text) {
  return node("p", {}, node("a", { href: path, className: "go" }, text));
}

export const NO_ANSWER = "No answer came back. Is the demo still running?";
