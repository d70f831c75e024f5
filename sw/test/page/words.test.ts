import { AuthErrorCodes } from "@firebase/auth";
import { describe, expect, it } from "vitest";
import { refusal, wordsFor } from "../../src/page/words";

/** As the SDK builds its errors. */
const failure = (code: string, message = "Error") => ({
  code: `auth/${code}`,
  message: `Firebase: ${message} (auth/${code}).`,
});

const said = (message: string) => wordsFor(failure("internal-error", message)).text;

describe("a function's refusal: the login page", () => {
  it.each([
    [
      "the documented form",
      'HTTP Cloud Function returned an error. Code: 400, Status: "INVALID_ARGUMENT", Message: "Only acme.example addresses."',
      "Only acme.example addresses.",
    ],
    [
      "quotation marks inside the message",
      'HTTP Cloud Function returned an error. Code: 403, Status: "PERMISSION_DENIED", Message: "You are not \\"staff\\"."',
      'You are not "staff".',
    ],
    [
      "bare quotation marks inside the message",
      'HTTP Cloud Function returned an error. Code: 403, Status: "PERMISSION_DENIED", Message: "You are not "staff"."',
      'You are not "staff".',
    ],
    [
      "the raw body",
      'HTTP Cloud Function returned an error: {"error":{"message":"Not today","status":"PERMISSION_DENIED"}}',
      "Not today",
    ],
    [
      "the emulator's form",
      '((HTTP request to http://127.0.0.1:8081/f returned HTTP error 403: {"error": {"status": "X", "message": "Go \\u00e9lsewhere"}}))',
      "Go élsewhere",
    ],
    [
      "a body that the SDK has cut",
      'HTTP Cloud Function returned an error: {"error":{"message":"Read this',
      "Read this",
    ],
    [
      "the prefix that older SDKs keep",
      'BLOCKING_FUNCTION_ERROR_RESPONSE : HTTP Cloud Function returned an error: {"error":{"message":"No"}}',
      "No",
    ],
  ])("shows %s", (_, message, text) => {
    expect(said(message)).toBe(text);
  });

  it.each([
    ["took too long", "Cloud function deadline exceeded."],
    ["could not be reached", "((Failed to make request to http://127.0.0.1:8081/f.))"],
    ["is gone", "HTTP Cloud Function returned an error: 404 Page not found"],
    ["answered nonsense", "((Response body is not valid JSON.))"],
  ])("says that a check did not answer when the function %s", (_, message) => {
    expect(said(message)).toMatch(/did not answer/);
  });

  it("shows a bounded part of a long one", () => {
    expect(said(`HTTP Cloud Function returned an error: {"error":{"message":"${"x".repeat(9000)}"}}`)).toHaveLength(
      500,
    );
  });

  it("does not take another internal error for one", () => {
    expect(refusal("Firebase: Error (auth/internal-error).")).toBeUndefined();
    expect(said("Error")).toMatch(/try again/);
  });
});

describe("the SDK's errors: the login page", () => {
  it.each([...new Set(Object.values(AuthErrorCodes))])("has a sentence for %s", (code) => {
    const { text } = wordsFor({ code, message: `Firebase: Error (${code}).` });
    expect(text).toMatch(/^[A-Z].{10,}/);
    expect(text).not.toMatch(/auth\/|Firebase/);
  });

  it.each(["invalid-credential", "wrong-password", "user-not-found"])(
    "does not tell whether the account exists on %s",
    (code) => {
      expect(wordsFor(failure(code))).toEqual(wordsFor(failure("invalid-credential")));
    },
  );

  it.each([
    ["invalid-email", "email"],
    ["missing-email", "email"],
    ["email-already-in-use", "email"],
    ["missing-password", "password"],
    ["weak-password", "password"],
    ["invalid-credential", "password"],
    ["too-many-requests", undefined],
    ["user-disabled", undefined],
  ])("says which field %s is about", (code, field) => {
    expect(wordsFor(failure(code)).field).toBe(field);
  });

  it("lists what a password lacks", () => {
    const message = "Missing password requirements: [Password must contain a digit, Password must contain a capital]";
    expect(wordsFor(failure("password-does-not-meet-requirements", message)).text).toBe(
      "Choose a stronger password. Password must contain a digit. Password must contain a capital.",
    );
  });

  it.each([[undefined], [null], ["text"], [new Error("x")], [{}]])("survives %o", (error) => {
    expect(wordsFor(error).text).toMatch(/try again/);
  });

  it("names a code that it does not know, so that someone can ask about it", () => {
    expect(wordsFor(failure("brand-new-code")).text).toContain("brand-new-code");
  });
});
