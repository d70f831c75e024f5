// The workshop's page. There is no token code here: requests are plain, and the service worker adds the session.

import { answer, NO_ANSWER, node, note, read, visit } from "./answers.js";

const MADE_BYTES = 5 * 1024 * 1024;
const RANDOM_BYTES = 65536; // crypto.getRandomValues gives no more at a time
const LOG_LINES = 50;
const POLL_MILLISECONDS = 400;
const POLL_GRACE_SECONDS = 5;
const WHO = "/api/whoami";

const $ = (id) => document.getElementById(id);
const json = { Accept: "application/json" };

/** Runs `work` with `button` marked busy; whatever fails is shown in `result`. */
async function during(button, result, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  result.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch {
    result.replaceChildren(note(NO_ANSWER));
  } finally {
    button.removeAttribute("aria-disabled");
    result.removeAttribute("aria-busy");
  }
}

function onClick(id, resultId, work) {
  const button = $(id);
  const result = $(resultId);
  button.addEventListener("click", () => during(button, result, () => work(result)));
}

const call = async (path, init = {}) => read(await fetch(path, { ...init, headers: { ...json, ...init.headers } }));

const command = (path, value) =>
  call(path, { method: "POST", body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

// ---- upload ---------------------------------------------------------------------------------------------------------
async function digest(file) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function makeFile() {
  const bytes = new Uint8Array(MADE_BYTES);
  for (let at = 0; at < MADE_BYTES; at += RANDOM_BYTES) crypto.getRandomValues(bytes.subarray(at, at + RANDOM_BYTES));
  return new File([bytes], "freewheel-5-mb.bin", { type: "application/octet-stream" });
}

const megabytes = (size) =>
  size < 100_000 ? `${size.toLocaleString("en")} bytes` : `${(size / 1_048_576).toFixed(2)} MB (${size.toLocaleString("en")} bytes)`;

async function upload(file, result) {
  result.replaceChildren(note(`Hashing and sending ${file.name} …`, "plain"));
  const form = new FormData();
  form.append("file", file);
  const started = performance.now();
  const [own, response] = await Promise.all([digest(file), fetch("/upload", { method: "POST", body: form, headers: json })]);
  const said = await read(response);
  if (!said.ok) {
    result.replaceChildren(answer(said));
    return;
  }
  const same = own === said.body.sha256 && file.size === said.body.size;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const verdict = same ? "✓ Byte for byte the same" : "✗ The backend received something else";
  const block = node(
    "div",
    { className: "answer", id: "upload-verdict" },
    node("p", { className: "answer-head" }, node("strong", {}, verdict)),
    node("p", { className: "soft" }, `${said.body.name}, ${megabytes(said.body.size)}, ${seconds}\u00a0s`),
    node(
      "dl",
      { className: "hashes" },
      node("dt", {}, "Your browser’s SHA-256"),
      node("dd", {}, node("code", { id: "hash-browser" }, own)),
      node("dt", {}, "The backend’s SHA-256"),
      node("dd", {}, node("code", { id: "hash-backend" }, said.body.sha256)),
    ),
  );
  block.dataset.tone = same ? "allow" : "deny";
  result.replaceChildren(block);
}

function setUpUpload() {
  const result = $("upload-result");
  const form = $("upload");
  const chosen = $("upload-file");
  if (!globalThis.crypto?.subtle) {
    result.replaceChildren(note("Browsers compute hashes on https and localhost only. Open the demo under localhost."));
    return;
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = chosen.files;
    if (file === undefined) {
      result.replaceChildren(note("Choose a file first, or let the page make one.", "plain"));
      chosen.focus();
      return;
    }
    during(event.submitter ?? form, result, () => upload(file, result));
  });
  onClick("upload-make", "upload-result", () => upload(makeFile(), result));
}

// ---- JSON -----------------------------------------------------------------------------------------------------------
function setUpJson() {
  const result = $("json-result");
  for (const button of document.querySelectorAll("[data-fetch]")) {
    button.addEventListener("click", () =>
      during(button, result, async () => {
        const started = performance.now();
        const said = await call(button.dataset.fetch);
        const time = `GET ${button.dataset.fetch}, ${Math.round(performance.now() - started)} ms`;
        const body = said.ok ? node("pre", { tabIndex: 0 }, JSON.stringify(said.body, null, 2)) : null;
        result.replaceChildren(answer(said, { intro: time, next: body }));
      }),
    );
  }
}

// ---- WebSocket ------------------------------------------------------------------------------------------------------
function line(log, ...parts) {
  log.hidden = false;
  log.append(node("li", {}, ...parts));
  while (log.children.length > LOG_LINES) log.firstChild.remove();
  log.scrollTop = log.scrollHeight;
}

function setUpEcho() {
  const log = $("echo-log");
  const text = $("echo-text");
  let socket = null;

  function open() {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "echo") {
        line(log, node("span", { className: "soft" }, "backend: "), message.text);
      } else {
        const name = message.visitor?.email || message.visitor?.user;
        line(log, node("em", {}, name ? `Connected; the backend knows you as ${name}.` : "Connected as nobody: the handshake carried no token."));
      }
    });
    let opened = false;
    socket.addEventListener("open", () => { opened = true; });
    socket.addEventListener("close", () => {
      line(log, node("em", {}, opened ? "The connection was closed." : "The connection was refused."));
      socket = null;
    });
    return socket;
  }

  $("echo").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = text.value.trim();
    if (words === "") return;
    const open_ = socket ?? open();
    const send = () => {
      line(log, node("span", { className: "soft" }, "you: "), words);
      open_.send(words);
    };
    if (open_.readyState === WebSocket.OPEN) send();
    // After the hello, so that the log reads in the order things happened.
    else open_.addEventListener("message", send, { once: true });
    text.select();
  });
}

// ---- live events ----------------------------------------------------------------------------------------------------
function setUpLive() {
  const toggle = $("live-toggle");
  const state = $("live-state");
  const log = $("live-log");
  let source = null;

  function stop(words) {
    source?.close();
    source = null;
    toggle.textContent = "Listen";
    toggle.setAttribute("aria-pressed", "false");
    state.textContent = words;
  }

  function start() {
    source = new EventSource("/events");
    toggle.textContent = "Stop";
    toggle.setAttribute("aria-pressed", "true");
    state.textContent = "Connecting …";
    source.addEventListener("open", () => { state.textContent = "Listening"; });
    source.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      const time = new Date().toLocaleTimeString("en-GB");
      const job = node("a", { href: `/jobs/${event.job}` }, `job ${event.job}`);
      line(log, node("span", { className: "soft time" }, time), ` ${event.who} ${event.what} (`, job, ")");
    });
    source.addEventListener("error", () => {
      if (source?.readyState === EventSource.CLOSED) stop("The gateway refused the stream.");
      else state.textContent = "Interrupted; trying again …";
    });
  }

  toggle.addEventListener("click", () => (source === null ? start() : stop("Stopped")));
  addEventListener("pagehide", () => { if (source !== null) stop("Stopped"); });
}

// ---- decisions ------------------------------------------------------------------------------------------------------
const seeLogin = (text = "Now open a page: see what the login page tells you →") => visit("/jobs/7", text);

function showHere({ address, at_home: atHome }) {
  $("here").textContent = address;
  $("here-note").textContent = atHome ? ", at home" : ", away";
}

async function move(address, result) {
  const moved = await command("/demo/network", { address });
  if (!moved.ok) {
    result.replaceChildren(answer(moved));
    return;
  }
  showHere(moved.body);
  const said = await call(WHO);
  const intro = `You are at ${moved.body.address} now. The next call from there:`;
  const meaning = said.ok ? "This is the network you signed in from, so the session stands." : "";
  result.replaceChildren(answer(said, { intro, meaning, next: said.ok ? null : seeLogin() }));
}

async function callFromElsewhere(away, result) {
  const elsewhere = await call(WHO, { headers: { "X-Forwarded-For": away } });
  const here = await call(WHO);
  const meaning = here.ok ? "One suspicious call spoils nothing: from where you are, the session still stands." : "";
  result.replaceChildren(
    answer(elsewhere, { intro: `The call from ${away}:` }),
    answer(here, { intro: "The same call from where you are:", meaning }),
  );
}

async function revoke(result) {
  const done = await command("/demo/revoke", {});
  if (!done.ok) {
    result.replaceChildren(answer(done));
    return;
  }
  const bound = done.body.noticed_within_seconds;
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  result.replaceChildren(note("Revoked. Asking again until the gateway notices …", "plain"));
  let said = await call(WHO);
  while (said.ok && elapsed() < bound + POLL_GRACE_SECONDS) {
    await new Promise((resume) => setTimeout(resume, POLL_MILLISECONDS));
    said = await call(WHO);
  }
  const after = `${elapsed().toFixed(1)} s after the revocation (promised: within ${bound} s):`;
  const meaning = said.ok ? "The gateway has not noticed in the promised time. That is a fault worth reporting." : "";
  result.replaceChildren(answer(said, { intro: after, meaning, next: said.ok ? null : seeLogin() }));
}

function setUpDecisions() {
  const { home, away } = $("acts").dataset;
  onClick("anonymous", "anonymous-result", async (result) => {
    result.replaceChildren(answer(await call(WHO, { credentials: "omit" }), { intro: `GET ${WHO}` }));
  });
  onClick("other", "other-result", (result) => callFromElsewhere(away, result));
  onClick("travel", "travel-result", (result) => move(away, result));
  onClick("go-home", "travel-result", (result) => move(home, result));
  onClick("revoke", "revoke-result", revoke);
  const here = $("here").textContent;
  showHere({ address: here, at_home: here === home });
}

setUpUpload();
setUpJson();
setUpEcho();
setUpLive();
setUpDecisions();
document.documentElement.dataset.ready = "true";
