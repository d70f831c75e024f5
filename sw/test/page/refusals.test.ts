import { describe, expect, it } from "vitest";
import { LANGUAGES, languageOf, localized } from "../../src/page/refusals";
import { wordsFor } from "../../src/page/words";

const SENTENCES = [
  'Unauthorized email "bob@evil.test"',
  'Unverified email "bob@evil.test"',
  '"bob@evil.test" needs to be verified before access is granted.',
  "Unauthorized access!",
  "An e-mail address of an allowed domain is needed.",
  "The photo could not be checked. Try again later.",
  "",
];

const FORMS: readonly [string, (sentence: string) => string][] = [
  [
    "documented",
    (s) =>
      `HTTP Cloud Function returned an error. Code: 400, Status: "INVALID_ARGUMENT", Message: ${JSON.stringify(s)}`,
  ],
  [
    "raw",
    (s) =>
      `HTTP Cloud Function returned an error: ${JSON.stringify({ error: { message: s, status: "INVALID_ARGUMENT" } })}`,
  ],
  [
    "emulator",
    (s) =>
      `((HTTP request to http://127.0.0.1:8081/f returned HTTP error 400: ${JSON.stringify({ error: { message: s } })}))`,
  ],
];

const shown = (message: string, ...languages: string[]) =>
  wordsFor({ code: "auth/internal-error", message: `Firebase: ${message} (auth/internal-error).` }, languages).text;

describe("a known refusal: the login page", () => {
  it.each(LANGUAGES)("has every sentence in %s, with the address in it", (language) => {
    const texts = SENTENCES.map((sentence) => localized(sentence, language));
    expect(new Set(texts).size).toBe(SENTENCES.length);
    for (const [index, text] of texts.entries()) {
      expect(text).not.toBe(SENTENCES[index]);
      expect(text?.includes("bob@evil.test")).toBe(index < 3);
    }
    if (language !== "en") expect(texts).not.toContain(localized(SENTENCES[3] ?? "", "en"));
  });

  it.each(FORMS)("is shown in the person's language from the %s form", (_, form) => {
    expect(shown(form('Unauthorized email "bob@evil.test"'), "fr-CA", "en")).toMatch(/^bob@evil\.test ne peut pas/);
    expect(shown(form("Unauthorized access!"), "de")).toMatch(/^Aus diesem Netz/);
  });

  it("is shown in the first language that there is, else in English", () => {
    expect(languageOf(["sv-SE", "it-IT", "de"])).toBe("it");
    expect(languageOf(["sv"])).toBe("en");
    expect(languageOf([])).toBe("en");
    expect(languageOf(["DE-at"])).toBe("de");
  });

  it("does not take an address for a pattern", () => {
    expect(localized('Unauthorized email "$&$1@evil.test"', "en")).toContain("$&$1@evil.test may not");
  });
});

describe("another refusal: the login page", () => {
  it.each(FORMS)("is shown as the function wrote it, from the %s form", (_, form) => {
    const message = `Firebase: ${form("Nur für Mitglieder.")} (auth/internal-error).`;
    const words = wordsFor({ code: "auth/internal-error", message }, ["fr"]);
    expect(words).toEqual({ text: "Nur für Mitglieder.", lang: "" });
  });
});
