/** Top-level navigations: the page goes away. Those of the second half start on a page of the foreign site. */
"use strict";

/** A form in this page with a text, a second of the same name and a file. */
function filled(action, attributes) {
  const form = document.createElement("form");
  for (const [name, value] of Object.entries({ ...attributes, action })) form.setAttribute(name, value);
  for (const value of ["1 & 2", "ä\nö"]) {
    form.append(Object.assign(document.createElement("textarea"), { name: "field", value }));
  }
  const files = new DataTransfer();
  files.items.add(file("upload.bin", 7000, "application/octet-stream"));
  const input = Object.assign(document.createElement("input"), { type: "file", name: "file" });
  input.files = files.files;
  form.append(input);
  document.body.append(form);
  return form;
}

function click(attributes) {
  const link = document.createElement("a");
  for (const [name, value] of Object.entries(attributes)) link.setAttribute(name, value);
  link.textContent = "link";
  document.body.append(link);
  link.click();
}

const leaves = { leaves: true };
const away = (title, more, run) => row("navigations", title, { ...leaves, ...more }, run);

away("link", {}, (at) => click({ href: at("html") }));
away("link without referrer", {}, (at) => click({ href: at("html"), rel: "noreferrer" }));
away("link into a new window", {}, (at) => click({ href: at("html"), target: "_blank" }));
away("link to what is missing", {}, (at) => click({ href: at("missing") }));
away("link that is redirected, 302", { count: 2 }, (at) =>
  click({ href: at("redirect", { status: 302, to: at("html", {}, "target") }) }));
away("link that is redirected twice", { count: 3 }, (at) =>
  click({ href: at("redirect", { status: 307,
    to: at("redirect", { status: 301, to: at("html", {}, "target") }, "between") }) }));
away("link that leads to a foreign site", { count: 2 }, (at) =>
  click({ href: at("redirect", { status: 302, to: there(at, "html") }) }));
away("link to a download", {}, (at) => click({ href: at("download") }));
away("link with the download attribute", { blind: ["chromium", "webkit"] }, (at) =>
  click({ href: at("text"), download: "row.txt" }));
away("location.assign", {}, (at) => location.assign(at("html")));
away("location.replace", {}, (at) => location.replace(at("html")));
away("window.open", {}, (at) => void window.open(at("html")));
away("refresh of a page, by markup", {}, (at) => {
  const meta = document.createElement("meta");
  meta.httpEquiv = "refresh";
  meta.content = `0; url=${at("html")}`;
  document.head.append(meta);
});
away("refresh of a page, by header", { count: 2 }, (at) => location.assign(at("refresh", { to: at("html", {}, "target") })));
away("history back", { count: 3, last: "third" }, (at) => {
  const back = `<script>addEventListener('load', () => setTimeout(() => history.back(), 200))</` + `script>`;
  const first = `<script>addEventListener('pageshow', (e) => setTimeout(() => {
    if (!sessionStorage.gone) { sessionStorage.gone = 1; location.assign(${JSON.stringify(at("html", { html: back }, "second"))}); }
    else if (sessionStorage.gone === '1') { sessionStorage.gone = 2; fetch(${JSON.stringify(at("json", {}, "third"))}); }
  }, 100))</` + `script>`;
  delete sessionStorage.gone;
  location.assign(at("html", { html: first }, "first"));
});
away("form, GET", {}, (at) => filled(at("html"), { method: "get" }).submit());
away("form, POST urlencoded", {}, (at) => filled(at("html"), { method: "post" }).submit());
away("form, POST multipart with a file", {}, (at) =>
  filled(at("html"), { method: "post", enctype: "multipart/form-data" }).submit());
away("form, POST text/plain", {}, (at) => filled(at("html"), { method: "post", enctype: "text/plain" }).submit());
// WebKit says `Sec-Fetch-Site: cross-site` of our own form there, so a cookie alone is not enough; the worker knows better.
away("form, POST into a new window", { refused: ["webkit"] }, (at) => filled(at("html"), { method: "post", target: "_blank" }).submit());
away("form, POST answered with 303", { count: 2 }, (at) =>
  filled(at("redirect", { status: 303, to: at("html", {}, "target") }), { method: "post" }).submit());
const REPEATED = { webkit: "the body, on its way after a 307 or 308" };
away("form, POST answered with 307", { count: 2, loses: REPEATED }, (at) =>
  filled(at("redirect", { status: 307, to: at("html", {}, "target") }), { method: "post" }).submit());
away("form, POST multipart answered with 307", { count: 2, loses: REPEATED }, (at) =>
  filled(at("redirect", { status: 307, to: at("html", {}, "target") }),
    { method: "post", enctype: "multipart/form-data" }).submit());

// ---- started by a page of the foreign site -----------------------------------------------------------------------

const outside = (title, more, run) =>
  row("from a foreign site", title, { leaves: true, from: "foreign", ...more }, run);
const crossSite = { design: "cross-site post", differs: [] };

outside("foreign link to us", { differs: ["referer"] }, (at) => click({ href: at("html") }));
outside("foreign location.assign to us", { differs: ["referer"] }, (at) => location.assign(at("html")));
outside("foreign form to us, GET", { differs: ["referer"] }, (at) => filled(at("html"), { method: "get" }).submit());
outside("foreign form to us, POST urlencoded", crossSite, (at) => filled(at("html"), { method: "post" }).submit());
outside("foreign form to us, POST multipart", crossSite, (at) =>
  filled(at("html"), { method: "post", enctype: "multipart/form-data" }).submit());
outside("foreign form to us, POST text/plain", crossSite, (at) =>
  filled(at("html"), { method: "post", enctype: "text/plain" }).submit());
outside("foreign form to us, POST without referrer", crossSite, (at) => {
  document.head.append(Object.assign(document.createElement("meta"), { name: "referrer", content: "no-referrer" }));
  filled(at("html"), { method: "post" }).submit();
});
outside("foreign form to us, POST into a new window", crossSite, (at) =>
  filled(at("html"), { method: "post", target: "_blank" }).submit());
outside("foreign page with our page in a frame", { design: "frame in a foreign site" }, (at) =>
  void element("iframe", { src: at("html") }));
outside("foreign page with our image", { design: "foreign page" }, (at) => void element("img", { src: at("png") }));
outside("foreign page that fetches from us", { design: "foreign page" }, (at) =>
  void fetch(at("json"), { credentials: "include" }));
outside("foreign page that posts to us by fetch", { design: "foreign page" }, (at) =>
  void fetch(at("json"), { method: "POST", mode: "no-cors", credentials: "include", body: "x" }));
outside("foreign page that opens a WebSocket to us", { design: "foreign page" }, (at) =>
  void new WebSocket(at("socket").replace(/^http/, "ws")));
