/** fetch, XMLHttpRequest, beacons, streams, workers: what scripts ask for. */
"use strict";

// ---- methods and bodies ------------------------------------------------------------------------------------------

row("fetch", "fetch GET", {}, (at) => get(at("json")));
row("fetch", "fetch HEAD", {}, (at) => get(at("json"), { method: "HEAD" }));
row("fetch", "fetch OPTIONS", {}, (at) => get(at("json"), { method: "OPTIONS" }));
row("fetch", "fetch DELETE without a body", {}, (at) => get(at("json"), { method: "DELETE" }));
row("fetch", "fetch DELETE with a body", {}, (at) => post(at("json"), "gone", { method: "DELETE" }));
row("fetch", "fetch PUT, JSON", {}, (at) =>
  post(at("json"), '{"a":1}', { method: "PUT", headers: { "content-type": "application/json" } }));
row("fetch", "fetch PATCH, JSON", {}, (at) =>
  post(at("json"), '{"a":1}', { method: "PATCH", headers: { "content-type": "application/json" } }));
row("fetch", "fetch GET of a Request object", {}, (at) => get(new Request(at("json"), { headers: { "x-own": "1" } })));
row("fetch", "fetch GET, header of the page's own", {}, (at) => get(at("json"), { headers: { "X-Own": "1" } }));
row("fetch", "fetch GET, priority high", {}, (at) => get(at("json"), { priority: "high" }));

const json = { headers: { "content-type": "application/json" } };
row("fetch: bodies", "POST JSON", {}, (at) => post(at("json"), JSON.stringify({ a: [1, "ä", null] }), json));
row("fetch: bodies", "POST JSON with white space, large numbers, equal keys", {}, (at) =>
  post(at("json"), ' {"n": 9007199254740993.10,\r\n "k":1, "k":2} ', json));
row("fetch: bodies", "POST what only claims to be JSON", {}, (at) => post(at("json"), "{not json", json));
row("fetch: bodies", "POST NDJSON", {}, (at) =>
  post(at("json"), '{"a":1}\n{"a":2}\n', { headers: { "content-type": "application/x-ndjson" } }));
row("fetch: bodies", "POST text", {}, (at) => post(at("json"), "text with ümlauts"));
row("fetch: bodies", "POST text with a byte order mark", {}, (at) => post(at("json"), "\ufefftext"));
row("fetch: bodies", "POST text in Latin-1", {}, (at) =>
  post(at("json"), Uint8Array.of(0xe4, 0xf6, 0xfc), { headers: { "content-type": "text/plain; charset=iso-8859-1" } }));
row("fetch: bodies", "POST nothing", {}, (at) => post(at("json")));
row("fetch: bodies", "POST an empty text", {}, (at) => post(at("json"), ""));
row("fetch: bodies", "POST Blob with a type", {}, (at) => post(at("json"), new Blob([bytes(999)], { type: "image/x-own" })));
row("fetch: bodies", "POST Blob without a type", {}, (at) => post(at("json"), new Blob([bytes(999)])));
row("fetch: bodies", "POST File", {}, (at) => post(at("json"), file("a.bin", 4096, "application/octet-stream")));
row("fetch: bodies", "POST ArrayBuffer", {}, (at) => post(at("json"), bytes(2048).buffer));
row("fetch: bodies", "POST ArrayBuffer with a type", {}, (at) =>
  post(at("json"), bytes(2048).buffer, { headers: { "content-type": "application/octet-stream" } }));
row("fetch: bodies", "POST Uint8Array, part of a buffer", {}, (at) => post(at("json"), bytes(2048).subarray(100, 200)));
row("fetch: bodies", "POST DataView", {}, (at) => post(at("json"), new DataView(bytes(64).buffer, 8, 16)));
row("fetch: bodies", "POST URLSearchParams", {}, (at) => post(at("json"), new URLSearchParams({ a: "1 & 2", b: "ä" })));
row("fetch: bodies", "POST FormData, fields", {}, (at) => {
  const form = new FormData();
  form.append("a", "1");
  form.append("a", "line\r\nline");
  return post(at("json"), form);
});
row("fetch: bodies", "POST FormData with two files", {}, (at) => {
  const form = new FormData();
  form.append("note", "ä");
  form.append("one", file("one.png", 3000, "image/png"));
  form.append("two", file("ümlaut.bin", 3001));
  return post(at("json"), form);
});
row("fetch: bodies", "POST 5 MB of ArrayBuffer", {}, (at) => post(at("json"), bytes(5_000_000).buffer));
row("fetch: bodies", "POST 5 MB in FormData", {}, (at) => {
  const form = new FormData();
  form.append("file", file("large.bin", 5_000_000));
  return post(at("json"), form);
});
row("fetch: bodies", "POST a coded body", {}, (at) =>
  post(at("json"), bytes(100), { headers: { "content-encoding": "x-own", "content-type": "text/plain" } }));
row("fetch: bodies", "POST a Request made from a Request", {}, (at) =>
  get(new Request(new Request(at("json"), { method: "POST", body: bytes(50) }), { headers: { "x-own": "1" } })));
row("fetch: bodies", "POST a stream", {}, (at) => {
  const stream = new Blob([bytes(5000)]).stream();
  return post(at("json"), stream, { duplex: "half" });
});

// ---- how a fetch is asked for ------------------------------------------------------------------------------------

for (const cache of ["no-store", "reload", "no-cache", "force-cache"]) {
  row("fetch: options", `cache ${cache}`, {}, (at) => get(at("text"), { cache }));
}
row("fetch: options", "cache only-if-cached, from the cache", {}, async (at) => {
  await get(at("text"));
  return get(at("text"), { cache: "only-if-cached", mode: "same-origin" });
});
row("fetch: options", "cache revalidates with an entity tag", { count: 2 }, async (at) => {
  await get(at("etag"));
  return get(at("etag"));
});
for (const mode of ["same-origin", "cors", "no-cors"]) {
  row("fetch: options", `mode ${mode}`, {}, (at) => get(at("json"), { mode }));
}
row("fetch: options", "mode no-cors, POST", {}, (at) => post(at("json"), "text", { mode: "no-cors" }));
for (const credentials of ["same-origin", "include"]) {
  row("fetch: options", `credentials ${credentials}`, {}, (at) => get(at("json"), { credentials }));
}
row("fetch: options", "credentials omit", { design: "asked for none" }, (at) => get(at("json"), { credentials: "omit" }));
row("fetch: options", "own Authorization, Basic", { design: "own header" }, (at) =>
  get(at("json"), { headers: { authorization: "Basic YTpi" } }));
row("fetch: options", "own Authorization, another scheme, POST", { design: "own header" }, (at) =>
  post(at("json"), "body", { headers: { authorization: "ApiKey 123" } }));
for (const referrerPolicy of ["no-referrer", "origin", "same-origin", "unsafe-url", "strict-origin-when-cross-origin"]) {
  row("fetch: options", `referrer policy ${referrerPolicy}`, {}, (at) => get(at("json"), { referrerPolicy }));
}
row("fetch: options", "no referrer", {}, (at) => get(at("json"), { referrer: "" }));
row("fetch: options", "referrer of another page", {}, (at) => get(at("json"), { referrer: "/other/page?x=1" }));
row("fetch: options", "integrity, right", {}, async (at) => {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode("some text"));
  return get(at("text"), { integrity: `sha256-${btoa(String.fromCharCode(...new Uint8Array(hash)))}` });
});
row("fetch: options", "integrity, wrong", {}, (at) => get(at("text"), { integrity: `sha256-${btoa("x".repeat(32))}` }));
row("fetch: options", "keepalive GET", { blind: ["firefox"] }, (at) => get(at("json"), { keepalive: true }));
row("fetch: options", "keepalive POST", { blind: ["firefox"] }, (at) => post(at("json"), bytes(99), { keepalive: true }));
row("fetch: options", "Range", {}, (at) => get(at("range"), { headers: { range: "bytes=100-199" } }));
row("fetch: options", "abort before the answer", { unheard: true }, async (at) => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 300);
  return get(at("late"), { signal: abort.signal });
});
row("fetch: options", "abort within the answer", {}, async (at) => {
  const abort = new AbortController();
  const response = await fetch(at("endless"), { signal: abort.signal });
  const reader = response.body.getReader();
  await reader.read();
  abort.abort();
  return reader.read().then(() => "read on", (error) => error.name);
});
row("fetch: options", "an answer that is cancelled", {}, async (at) => {
  const response = await fetch(at("endless"));
  await response.body.cancel();
  return response.status;
});

// ---- redirects and answers ---------------------------------------------------------------------------------------

for (const status of [301, 302, 303, 307, 308]) {
  row("fetch: redirects", `GET, ${status}`, { count: 2 }, (at) =>
    get(at("redirect", { status, to: at("json", {}, "target") })));
}
row("fetch: redirects", "POST, 303 becomes GET", { count: 2 }, (at) =>
  post(at("redirect", { status: 303, to: at("json", {}, "target") }), "body"));
for (const status of [307, 308]) {
  row("fetch: redirects", `POST, ${status} repeats the body`, { count: 2 }, (at) =>
    post(at("redirect", { status, to: at("json", {}, "target") }), bytes(500)));
}
row("fetch: redirects", "redirect mode manual", {}, (at) =>
  get(at("redirect", { status: 302, to: at("json", {}, "target") }), { redirect: "manual" }));
row("fetch: redirects", "redirect mode error", {}, (at) =>
  get(at("redirect", { status: 302, to: at("json", {}, "target") }), { redirect: "error" }));
row("fetch: redirects", "to a foreign site", { count: 2 }, (at) =>
  get(at("redirect", { status: 302, to: there(at, "json") })));
row("fetch: redirects", "to a foreign site, 307 with a body", { count: 2 }, (at) =>
  post(at("redirect", { status: 307, to: there(at, "json") }), "body"));

for (const form of ["nothing", "missing", "broken", "large"]) {
  row("fetch: answers", `answer: ${form}`, {}, (at) => get(at(form)));
}
row("fetch: answers", "answer in pieces", {}, async (at) => {
  const reader = (await fetch(at("pieces"))).body.getReader();
  const pieces = [];
  for (let step = await reader.read(); !step.done; step = await reader.read()) {
    pieces.push(new TextDecoder().decode(step.value));
  }
  return pieces;
});
row("fetch: answers", "answer header fields", {}, async (at) => (await fetch(at("json"))).headers.get("x-own"));

// ---- XMLHttpRequest ----------------------------------------------------------------------------------------------

function xhr(method, url, body, prepare = () => {}) {
  const request = new XMLHttpRequest();
  request.open(method, url);
  prepare(request);
  const end = event(request, "load", "error", "abort");
  request.send(body);
  return end.then((type) => ({ type, status: request.status, size: request.response?.byteLength ?? request.response?.length }));
}
const PROGRESS = "upload progress events";
row("XMLHttpRequest", "XHR GET", {}, (at) => xhr("GET", at("json")));
row("XMLHttpRequest", "XHR GET, binary", {}, (at) => xhr("GET", at("large"), null, (r) => { r.responseType = "arraybuffer"; }));
row("XMLHttpRequest", "XHR GET, synchronous", { blind: ["chromium", "webkit"] }, (at) => {
  const request = new XMLHttpRequest();
  request.open("GET", at("text"), false);
  request.send();
  return { status: request.status, text: request.responseText };
});
row("XMLHttpRequest", "XHR GET, withCredentials", {}, (at) => xhr("GET", at("json"), null, (r) => { r.withCredentials = true; }));
row("XMLHttpRequest", "XHR POST, JSON", {}, (at) =>
  xhr("POST", at("json"), '{"a":1}', (r) => r.setRequestHeader("Content-Type", "application/json")));
row("XMLHttpRequest", "XHR POST, ArrayBuffer", {}, (at) => xhr("POST", at("json"), bytes(777).buffer));
row("XMLHttpRequest", "XHR POST, Blob", {}, (at) => xhr("POST", at("json"), new Blob([bytes(777)], { type: "x/y" })));
row("XMLHttpRequest", "XHR POST, document", {}, (at) =>
  xhr("POST", at("json"), new DOMParser().parseFromString("<a>ä</a>", "application/xml")));
row("XMLHttpRequest", "XHR POST, FormData with a file", {}, (at) => {
  const form = new FormData();
  form.append("file", file("x.bin", 5555));
  return xhr("POST", at("json"), form);
});
row("XMLHttpRequest", "XHR PUT, progress events", { loses: { chromium: PROGRESS, webkit: PROGRESS } }, (at) => {
  let loaded = 0;
  return xhr("PUT", at("json"), bytes(100_000), (r) => {
    r.upload.addEventListener("loadend", (e) => { loaded = e.loaded; });
  }).then((end) => ({ ...end, loaded }));
});
row("XMLHttpRequest", "XHR, own Authorization", { design: "own header" }, (at) =>
  xhr("GET", at("json"), null, (r) => r.setRequestHeader("Authorization", "Basic YTpi")));
row("XMLHttpRequest", "XHR, aborted", { unheard: true }, (at) =>
  xhr("GET", at("late"), null, (r) => setTimeout(() => r.abort(), 300)));

// ---- beacons, event streams, sockets -----------------------------------------------------------------------------

row("others of scripts", "beacon, text", {}, (at) => navigator.sendBeacon(at("nothing"), "text"));
row("others of scripts", "beacon, Blob", {}, (at) =>
  navigator.sendBeacon(at("nothing"), new Blob([bytes(300)], { type: "text/plain" })));
row("others of scripts", "beacon, FormData", {}, (at) => {
  const form = new FormData();
  form.append("a", "1");
  return navigator.sendBeacon(at("nothing"), form);
});
row("others of scripts", "EventSource", {}, async (at) => {
  const source = new EventSource(at("events"));
  const got = await event(source, "message", "error");
  source.close();
  return got;
});
row("others of scripts", "EventSource reconnects", { count: 2, loses: { chromium: "`Last-Event-ID`" } }, async (at) => {
  const source = new EventSource(at("events"));
  await event(source, "message");
  const got = await event(source, "message");
  source.close();
  return got;
});
row("others of scripts", "WebSocket", { blind: true }, async (at) => {
  const socket = new WebSocket(at("socket").replace(/^http/, "ws"));
  if ((await event(socket, "open", "error")) === "error") return "refused";
  socket.send("hello");
  const { data } = await new Promise((done) => { socket.onmessage = done; });
  socket.close();
  return data;
});
row("others of scripts", "fetch from about:blank's frame", { blind: ["chromium"] }, async (at) => {
  const frame = document.createElement("iframe");
  document.body.append(frame);
  return frame.contentWindow.fetch(at("json")).then((response) => response.status);
});

// ---- workers -----------------------------------------------------------------------------------------------------

const SAY = "postMessage('ready');";
const fetching = (url) => `fetch(${JSON.stringify(url)}).then((r) => postMessage(r.status), (e) => postMessage(e.name));`;
const given = (at, body, name = "script") => at("given", { type: "text/javascript", body }, name);
function answerOf(worker) {
  return new Promise((done) => {
    worker.onmessage = (message) => { done(message.data); worker.terminate?.(); };
    worker.onerror = () => done("error");
  });
}
row("workers", "dedicated worker's script", {}, (at) => answerOf(new Worker(given(at, SAY))));
row("workers", "dedicated worker, module", {}, (at) => answerOf(new Worker(given(at, SAY), { type: "module" })));
row("workers", "fetch in a dedicated worker", { count: 2 }, (at) => answerOf(new Worker(given(at, fetching(at("json"))))));
row("workers", "importScripts in a dedicated worker", { count: 2 }, (at) =>
  answerOf(new Worker(given(at, `importScripts(${JSON.stringify(at("js"))}); ${SAY}`))));
row("workers", "import in a module worker", { count: 2 }, (at) =>
  answerOf(new Worker(given(at, `import(${JSON.stringify(at("module"))}).then(() => postMessage('ready'));`), { type: "module" })));
row("workers", "importScripts of a foreign site's script", {}, (at) =>
  answerOf(new Worker(given(at, `try { importScripts(${JSON.stringify(there(at, "js"))}); } finally { ${SAY} }`))));
row("workers", "fetch to a foreign site in a dedicated worker", {}, (at) =>
  answerOf(new Worker(given(at, fetching(there(at, "json"))))));
row("workers", "eval in a dedicated worker", {}, (at) =>
  answerOf(new Worker(given(at, `try { eval("1"); } finally { ${SAY} }`))));
row("workers", "fetch in a worker from a blob", {}, (at) =>
  answerOf(new Worker(URL.createObjectURL(new Blob([fetching(at("json"))])))));
row("workers", "fetch in a worker of a worker", { count: 3 }, (at) => {
  const inner = given(at, fetching(at("json")), "inner");
  return answerOf(new Worker(given(at, `new Worker(${JSON.stringify(inner)}).onmessage = (m) => postMessage(m.data);`)));
});
row("workers", "shared worker's script", {}, (at) => {
  const worker = new SharedWorker(given(at, "onconnect = (e) => e.ports[0].postMessage('ready');"));
  return answerOf(worker.port);
});
row("workers", "fetch in a shared worker", { count: 2 }, (at) => {
  const body = `onconnect = (e) => fetch(${JSON.stringify(at("json"))}).then((r) => e.ports[0].postMessage(r.status));`;
  return answerOf(new SharedWorker(given(at, body)).port);
});
