import { describe, expect, it } from "vitest";
import error from "../../../static/error.html?raw";
import login from "../../../static/login.html?raw";
import logout from "../../../static/logout.html?raw";
import view from "../../src/page/view.ts?raw";

const PAGES: Record<string, string> = { "login.html": login, "logout.html": logout, "error.html": error };
const read = (name: string): string => PAGES[name] ?? "";
const ids = (html: string): string[] => [...html.matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id ?? "");

const PLACEHOLDERS: Record<string, string[]> = {
  "login.html": ["config", "prefix", "title"],
  "logout.html": ["config", "prefix", "title"],
  "error.html": ["advice", "heading", "home", "prefix", "reason", "request_id", "status", "title"],
};

describe.each(Object.keys(PLACEHOLDERS))("%s: the gateway's page", (name) => {
  const html = read(name);

  it("has exactly the blanks that the gateway fills", () => {
    const found = [...html.matchAll(/\{\{(\w+)\}\}/g)].map(([, blank]) => blank);
    expect([...new Set(found)].sort()).toEqual(PLACEHOLDERS[name]);
  });

  it("keeps to a policy without inline script, inline style and foreign origins", () => {
    expect(html).not.toMatch(/<style|\sstyle=|\son\w+=|javascript:/i);
    expect(html).not.toMatch(/<script(?![^>]*\ssrc=)/i);
    expect(html.replaceAll("xmlns='http://www.w3.org/2000/svg'", "")).not.toMatch(/https?:\/\//);
  });

  it("uses no id twice", () => {
    expect(ids(html)).toEqual([...new Set(ids(html))]);
  });

  it("has a language, a title and room for a phone", () => {
    expect(html).toMatch(/<html lang="en"/);
    expect(html).toMatch(/<title>[^<]+<\/title>/);
    expect(html).toContain('content="width=device-width, initial-scale=1"');
  });
});

describe("login.html: the gateway's page", () => {
  const html = read("login.html");

  it("names every field, for people and for password managers", () => {
    const inputs = [...html.matchAll(/<input[^>]*>/g)].map(([input]) => input);
    expect(inputs).toHaveLength(7);
    for (const input of inputs) {
      const id = /\bid="([^"]+)"/.exec(input)?.[1];
      expect(html).toContain(`<label for="${id}">`);
      expect(input).toMatch(/autocomplete="(username|current-password|new-password)"/);
    }
  });

  it("announces errors and says something without JavaScript", () => {
    expect(html.match(/class="form-error" id="[^"]+" role="alert"/g)).toHaveLength(4);
    expect(html).toMatch(/<noscript>[\s\S]*JavaScript[\s\S]*<\/noscript>/);
  });

  it("shows nothing before it is decided what", () => {
    for (const [part] of html.matchAll(/<section[^>]*>/g)) expect(part).toMatch(/ hidden>$/);
  });
});

it("the script finds every part of both pages that it asks for", () => {
  const asked = [...view.matchAll(/find\("([^"]+)"\)/g)].map(([, id]) => id ?? "");
  expect(asked.length).toBeGreaterThan(5);
  for (const name of ["login.html", "logout.html"]) expect(ids(read(name))).toEqual(expect.arrayContaining(asked));
});
