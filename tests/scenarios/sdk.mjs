// Signs people in with the real Firebase JS SDK and prints what it saw, one JSON object.
// Arguments: the provider's origin, a directory below which @firebase/* is installed.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , origin, sdk] = process.argv;
const require = createRequire(pathToFileURL(`${sdk}/package.json`));
const { initializeApp } = require("@firebase/app");
// The build for browsers: the one for Node knows no phones. What it needs of a browser, Node has too.
const sdkAuth = require(`${sdk}/node_modules/@firebase/auth/dist/browser-cjs/index.js`);
const {
  connectAuthEmulator, createUserWithEmailAndPassword, GithubAuthProvider, GoogleAuthProvider, getMultiFactorResolver,
  inMemoryPersistence, initializeAuth, linkWithCredential, multiFactor, PhoneAuthProvider, PhoneMultiFactorGenerator,
  signInWithCredential, signInWithEmailAndPassword, signInWithPhoneNumber, signOut, updatePassword,
} = sdkAuth;

const auth = initializeAuth(initializeApp({ apiKey: "k", projectId: "demo-idp" }), { persistence: inMemoryPersistence });
connectAuthEmulator(auth, origin, { disableWarnings: true });
const verifier = { type: "recaptcha", verify: async () => "not asked for", _reset() {} };
const seen = {};

const codes = async () => {
  const answer = await fetch(`${origin}/emulator/v1/projects/demo-idp/verificationCodes`, {
    headers: { authorization: "Bearer owner" },
  });
  return (await answer.json()).verificationCodes.at(-1).code;
};
const claims = async (user) => (await user.getIdTokenResult(true)).claims;
const failure = async (promise) => promise.then(() => "no error", ({ code, message }) => ({ code, message }));

seen.refused = await failure(createUserWithEmailAndPassword(auth, "eve@evil.test", "correct horse"));
const { user } = await createUserWithEmailAndPassword(auth, "ann@example.com", "correct horse");
seen.created = { name: user.displayName, claims: await claims(user) };

const google = GoogleAuthProvider.credential(JSON.stringify({ sub: "g-1", email: "ann@example.com", email_verified: true }));
seen.linked = await claims((await linkWithCredential(user, google)).user);
await signOut(auth);
seen.google = await claims((await signInWithCredential(auth, google)).user);
const github = GithubAuthProvider.credential(JSON.stringify({ sub: "h-1", email: "zoe@evil.test" }));
seen.refusedProvider = await failure(signInWithCredential(auth, github));

const confirmation = await signInWithPhoneNumber(auth, "+15550100", verifier);
seen.phone = await failure(confirmation.confirm(await codes()));

const signedIn = (await signInWithCredential(auth, google)).user;
const session = await multiFactor(signedIn).getSession();
const provider = new PhoneAuthProvider(auth);
const enrolling = await provider.verifyPhoneNumber({ phoneNumber: "+15550111", session }, verifier);
await multiFactor(signedIn).enroll(
  PhoneMultiFactorGenerator.assertion(PhoneAuthProvider.credential(enrolling, await codes())), "mine",
);
await updatePassword(signedIn, "another horse");
await signOut(auth);
try {
  await signInWithEmailAndPassword(auth, "ann@example.com", "another horse");
} catch (error) {
  seen.challenged = error.code;
  const resolver = getMultiFactorResolver(auth, error);
  const [hint] = resolver.hints;
  seen.hint = hint.phoneNumber;
  const asked = await provider.verifyPhoneNumber({ multiFactorHint: hint, session: resolver.session }, verifier);
  const proof = PhoneMultiFactorGenerator.assertion(PhoneAuthProvider.credential(asked, await codes()));
  seen.second = await claims((await resolver.resolveSignIn(proof)).user);
}
console.log(JSON.stringify(seen));
process.exit(0);
