/** What markup and styles ask for. */
"use strict";

const outcome = (name, attributes) => element(name, attributes).then(([type]) => type);

row("elements", "image", {}, (at) => outcome("img", { src: at("png") }));
row("elements", "image, SVG", {}, (at) => outcome("img", { src: at("svg") }));
row("elements", "image, srcset", {}, (at) => outcome("img", { srcset: `${at("png")} 1x` }));
row("elements", "image, crossorigin", {}, (at) => outcome("img", { src: at("png"), crossorigin: "anonymous" }));
row("elements", "image, crossorigin use-credentials", {}, (at) =>
  outcome("img", { src: at("png"), crossorigin: "use-credentials" }));
row("elements", "image, lazy", {}, (at) => outcome("img", { src: at("png"), loading: "lazy" }));
row("elements", "image, no referrer", {}, (at) => outcome("img", { src: at("png"), referrerpolicy: "no-referrer" }));
row("elements", "image, missing", {}, (at) => outcome("img", { src: at("missing") }));
row("elements", "image that is redirected", { count: 2 }, (at) =>
  outcome("img", { src: at("redirect", { status: 302, to: at("png", {}, "target") }) }));
row("elements", "image that is redirected to a foreign site", { repeats: true, count: 2 }, (at) =>
  outcome("img", { src: at("redirect", { status: 302, to: there(at, "png") }) }));
row("elements", "script that is redirected to a foreign site", { repeats: true, count: 2 }, (at) =>
  outcome("script", { src: at("redirect", { status: 302, to: there(at, "js") }) }));
row("elements", "style sheet that is redirected to a foreign site", { repeats: true, count: 2 }, (at) =>
  outcome("link", { rel: "stylesheet", href: at("redirect", { status: 302, to: there(at, "css") }) }));
row("elements", "picture", {}, async (at) => {
  const picture = document.createElement("picture");
  document.body.append(picture);
  const source = document.createElement("source");
  source.srcset = at("png");
  picture.append(source);
  const [type] = await element("img", { alt: "" }, picture);
  return type;
});
row("elements", "image of a style", {}, async (at) => {
  const div = document.createElement("div");
  div.style.cssText = `width: 9px; height: 9px; background-image: url("${at("png")}")`;
  document.body.append(div);
  await arrived(at);
});
row("elements", "input of type image", {}, (at) => outcome("input", { type: "image", src: at("png") }));
row("elements", "video's poster", {}, async (at) => {
  document.body.append(Object.assign(document.createElement("video"), { poster: at("png"), width: 9, height: 9 }));
  await arrived(at);
});
row("elements", "image in SVG", {}, async (at) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const image = document.createElementNS("http://www.w3.org/2000/svg", "image");
  const done = event(image, "load", "error");
  svg.append(image);
  document.body.append(svg);
  image.setAttribute("href", at("png"));
  return done;
});
row("elements", "style sheet", {}, (at) => outcome("link", { rel: "stylesheet", href: at("css") }));
row("elements", "style sheet, @import", { count: 2 }, (at) =>
  outcome("link", { rel: "stylesheet",
    href: at("given", { type: "text/css", body: `@import url("${at("css", {}, "inner")}");` }, "outer") }));
row("elements", "font of a style", {}, async (at) => {
  const face = new FontFace("Lab", `url("${at("missing")}")`);
  return face.load().then(() => "load", (error) => error.name);
});
row("elements", "script", {}, (at) => outcome("script", { src: at("js") }));
row("elements", "script, async and integrity", {}, async (at) => {
  const text = new TextEncoder().encode("globalThis.labLoaded = (globalThis.labLoaded || 0) + 1;");
  const hash = await crypto.subtle.digest("SHA-256", text);
  const integrity = `sha256-${btoa(String.fromCharCode(...new Uint8Array(hash)))}`;
  return outcome("script", { src: at("js"), async: "", integrity });
});
row("elements", "script, crossorigin", {}, (at) => outcome("script", { src: at("js"), crossorigin: "anonymous" }));
row("elements", "module", {}, (at) => outcome("script", { src: at("module"), type: "module" }));
row("elements", "module that imports", { count: 2 }, (at) =>
  outcome("script", { type: "module",
    src: at("given", { type: "text/javascript", body: `import "${at("module", {}, "inner")}";` }, "outer") }));
row("elements", "import()", {}, async (at) => (await import(at("module"))).loaded);
row("elements", "modulepreload", {}, (at) => outcome("link", { rel: "modulepreload", href: at("module") }));
row("elements", "preload as fetch", {}, async (at) => {
  document.head.append(Object.assign(document.createElement("link"), {
    rel: "preload", as: "fetch", href: at("json"), crossOrigin: "anonymous" }));
  await arrived(at);
});
row("elements", "preload as image", {}, async (at) => {
  document.head.append(Object.assign(document.createElement("link"), { rel: "preload", as: "image", href: at("png") }));
  await arrived(at);
});
row("elements", "prefetch", { differs: ["accept", "purpose", "sec-purpose", "x-moz", "x-purpose"] }, async (at) => {
  document.head.append(Object.assign(document.createElement("link"), { rel: "prefetch", href: at("text") }));
  await arrived(at);
});
row("elements", "audio", { some: true, differs: ["accept-encoding"] }, async (at) => {
  const audio = document.createElement("audio");
  const got = event(audio, "loadedmetadata", "error");
  audio.preload = "metadata";
  audio.src = at("sound");
  document.body.append(audio);
  return got;
});
row("elements", "video, range", { some: true, differs: ["accept-encoding"] }, async (at) => {
  const video = document.createElement("video");
  const got = event(video, "error", "loadedmetadata");
  video.src = at("range");
  document.body.append(video);
  return got;
});
row("elements", "subtitles", {}, async (at) => {
  const video = document.createElement("video");
  const track = Object.assign(document.createElement("track"), { kind: "subtitles", src: at("vtt"), default: true });
  const got = event(track, "load", "error");
  video.append(track);
  document.body.append(video);
  track.track.mode = "showing";
  return got;
});
row("elements", "object", { blind: true }, (at) => outcome("object", { data: at("svg"), type: "image/svg+xml" }));
row("elements", "object, a page", { blind: true }, (at) => outcome("object", { data: at("html"), type: "text/html" }));
row("elements", "embed", { blind: true }, async (at) => {
  document.body.append(Object.assign(document.createElement("embed"), { src: at("svg"), type: "image/svg+xml" }));
  await arrived(at);
});
row("elements", "ping of a link", { blind: true, differs: ["accept", "accept-encoding", "accept-language", "content-type", "origin"] }, async (at) => {
  const link = Object.assign(document.createElement("a"), { href: "#here", ping: at("nothing") });
  document.body.append(link);
  link.click();
  await arrived(at);
});

// ---- frames ------------------------------------------------------------------------------------------------------

row("frames", "frame", {}, (at) => outcome("iframe", { src: at("html") }));
row("frames", "frame that is redirected", { count: 2 }, (at) =>
  outcome("iframe", { src: at("redirect", { status: 302, to: at("html", {}, "target") }) }));
row("frames", "frame, sandboxed", { blind: true }, (at) => outcome("iframe", { src: at("html"), sandbox: "" }));
row("frames", "frame, sandboxed with its own origin", { blind: ["webkit"] }, (at) =>
  outcome("iframe", { src: at("html"), sandbox: "allow-same-origin" }));
row("frames", "frame within a frame", { count: 2 }, (at) =>
  outcome("iframe", { src: at("html", { html: `<iframe src="${at("html", {}, "inner")}"></iframe>` }) }));
row("frames", "image in a frame", { count: 2 }, (at) =>
  outcome("iframe", { src: at("html", { html: `<img src="${at("png", {}, "inner")}">` }) }));
row("frames", "image in a frame from srcdoc", {}, (at) => outcome("iframe", { srcdoc: `<img src="${at("png")}">` }));
row("frames", "form in a frame, GET", {}, (at) => framed(at, { method: "get" }));
row("frames", "form in a frame, POST", {}, (at) => framed(at, { method: "post" }));
row("frames", "form in a frame, POST with a file", {}, (at) => framed(at, { method: "post", enctype: "multipart/form-data" }));

/** A form that is sent into a frame of this page. */
async function framed(at, attributes) {
  const frame = Object.assign(document.createElement("iframe"), { name: "target" });
  document.body.append(frame);
  const form = filled(at("html"), { ...attributes, target: "target" });
  const loaded = event(frame, "load");
  form.submit();
  return loaded;
}

/** Resolves when a request of this row has ended, for kinds that raise no event. */
async function arrived(at) {
  const path = new URL(at("x")).pathname;
  const is = ({ name }) => new URL(name).pathname === path;
  for (let tries = 0; tries < 40 && !performance.getEntriesByType("resource").some(is); tries++) await pause(50);
}

// ---- foreign sites -----------------------------------------------------------------------------------------------

const foreign = { design: "foreign site" };
row("to a foreign site", "foreign fetch", foreign, (at) => get(there(at, "json")));
row("to a foreign site", "foreign fetch, with credentials", foreign, (at) => get(there(at, "json"), { credentials: "include" }));
row("to a foreign site", "foreign fetch, no-cors", foreign, (at) => get(there(at, "json"), { mode: "no-cors" }));
row("to a foreign site", "foreign fetch, POST JSON", foreign, (at) => post(there(at, "json"), '{"a":1}', json));
row("to a foreign site", "foreign fetch, own Authorization", foreign, (at) =>
  get(there(at, "json"), { headers: { authorization: "Basic YTpi" } }));
row("to a foreign site", "foreign XHR", foreign, (at) => xhr("GET", there(at, "json")));
row("to a foreign site", "foreign beacon", foreign, (at) => navigator.sendBeacon(there(at, "nothing"), "text"));
row("to a foreign site", "foreign EventSource", foreign, async (at) => {
  const source = new EventSource(there(at, "events"));
  const got = await event(source, "message", "error");
  source.close();
  return got;
});
row("to a foreign site", "foreign image", foreign, (at) => outcome("img", { src: there(at, "png") }));
row("to a foreign site", "foreign script", foreign, (at) => outcome("script", { src: there(at, "js") }));
row("to a foreign site", "foreign style sheet", foreign, (at) => outcome("link", { rel: "stylesheet", href: there(at, "css") }));
row("to a foreign site", "foreign frame", foreign, (at) => outcome("iframe", { src: there(at, "html") }));
row("to a foreign site", "foreign WebSocket", foreign, async (at) => {
  const socket = new WebSocket(there(at, "socket").replace(/^http/, "ws"));
  const got = await event(socket, "open", "error");
  socket.close();
  return got;
});
