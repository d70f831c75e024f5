/**
 * The table of requests, as the page makes them. Every row is one kind of request; the Python side runs all rows in a
 * profile without a worker and in one with it, and compares what arrived and what the page got back.
 *
 * A row is `row(group, title, more, run)`:
 *   more.design   why no token belongs on it, in words ("own header", ...): it must be left alone
 *   more.blind    the engines in which no worker sees it (true: all), so that only a cookie can carry the session
 *   more.count    how many requests are expected, 1 unless said
 *   more.leaves   the page goes away: a top-level navigation
 *   more.from     "foreign": started by a page of the other site
 *   more.unheard  the page gives up before there is an answer, of which a worker never hears (w3c/ServiceWorker#1544)
 *   more.some     how many requests it takes depends on timing: the first counts
 *   more.last     the name of the request that ends it, where the number of requests is not always the same
 *   more.refused  the engines in which the cookie alone is refused, although the worker carries the session
 *   more.repeats  by design sent again, without the session
 *   more.loses    by engine, what it takes from every request that a worker relays, ours or another's
 *   more.differs  header fields that may differ with a worker, in lower case
 * `run(at)` returns what the page sees; `at(form, parameters, name)` is an address of this row.
 */
"use strict";

const rows = [];
let runName = "";

function row(group, title, more, run) {
  const id = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  if (rows.some((other) => other.id === id)) throw new Error(`two rows are called ${id}`);
  rows.push({ id, group, title, run, ...more });
}

/** An address maker of one row, on one of the two sites. */
const addresses = (id, origin) => (form, parameters = {}, name = "x") =>
  `${origin}/r/${runName}/${id}/${name}?${new URLSearchParams({ as: form, ...parameters })}`;

/** The same row's address on the foreign site. */
const there = (at, form, parameters) => addresses(at("x").split("/")[5], LAB.foreign)(form, parameters);

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function digest(data) {
  const hash = await crypto.subtle.digest("SHA-256", data);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a page can see of an answer. */
async function seen(response) {
  const type = response.headers.get("content-type");
  const body = await digest(await response.arrayBuffer());
  const { status, redirected, ok } = response;
  return { status, redirected, ok, kind: response.type, type, body, url: response.url };
}

const get = (url, init) => fetch(url, init).then(seen);
const post = (url, body, init) => fetch(url, { method: "POST", body, ...init }).then(seen);

/** Resolves with the type of the first event of an element or object that is in the list. */
const event = (target, ...types) =>
  new Promise((done) => {
    for (const type of types) target.addEventListener(type, () => done(type), { once: true });
  });

/** An element in the page; resolves with what became of it. */
async function element(name, attributes, parent = document.body) {
  const made = document.createElement(name);
  const outcome = event(made, "load", "error");
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return [await outcome, made];
}

/** Bytes that are no UTF-8, the same every time. */
function bytes(length) {
  const made = new Uint8Array(length);
  for (let index = 0; index < length; index++) made[index] = index * 31 + 128;
  return made;
}

const file = (name, length, type) => new File([bytes(length)], name, type ? { type } : {});

/** Each row has a time limit: what hangs is told as such. */
const LIMIT_MS = 8000;

globalThis.lab = {
  rows: () => rows.map(({ run, ...rest }) => rest),

  async run({ id, run }) {
    runName = run;
    const found = rows.find((candidate) => candidate.id === id);
    const at = addresses(id, location.origin);
    const limit = pause(LIMIT_MS).then(() => "did not end");
    try {
      return { result: await Promise.race([found.run(at), limit]) ?? null };
    } catch (error) {
      return { error: error?.name ?? String(error) };
    } finally {
      document.body?.replaceChildren();
    }
  },

  /** Starts what makes this page go away. */
  start({ id, run, site }) {
    runName = run;
    const found = rows.find((candidate) => candidate.id === id);
    const at = addresses(id, site);
    found.run(at);
  },
};
