/**
 * Bundles the service worker and the pages into one directory: `node build.mjs [OUTDIR]`.
 *
 * OUTDIR (default `../gateway/_assets/`) receives the scripts below and a copy of every file of `../static/`.
 * Files of other names in OUTDIR are left alone. Prints the sizes and ends with status 1 when one is over its budget,
 * in which case nothing is written. esbuild is used through its JavaScript API: its launcher only works where its install
 * script ran. Terser goes over what is fetched by every visitor: it is slower and finds five percent more.
 */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = resolve(process.argv[2] ?? resolve(here, "../gateway/_assets"));

const ANY = Number.POSITIVE_INFINITY;

/** Bytes. The worker is fetched and parsed before every cold first response; the login page is read once a session. */
const ENTRIES = [
  { in: "src/sw.ts", out: "sw.js", min: 5_000, gzip: 2_200, squeeze: true },
  { in: "src/sw-sdk.ts", out: "sw-sdk.js", min: ANY, gzip: ANY },
  { in: "src/off.ts", out: "sw-off.js", min: 500, gzip: 300 },
  { in: "src/helper.ts", out: "session.js", min: 4_000, gzip: 2_000, squeeze: true, module: true },
  { in: "src/login.ts", out: "login.js", min: ANY, gzip: 40_000 },
];

/** Engines that have everything the worker needs; without `addRoutes` (Firefox, Safari) it is simply not called. */
const TARGET = ["es2022", "chrome111", "firefox114", "safari16.4"];

async function squeeze(bytes, module) {
  const compress = { ecma: 2022, passes: 4, unsafe_arrows: true, module, toplevel: true };
  const { code } = await minify(new TextDecoder().decode(bytes), { compress, mangle: { toplevel: true }, module });
  return new TextEncoder().encode(code);
}

const over = [];
const written = [];
for (const entry of ENTRIES) {
  const result = await build({
    entryPoints: [resolve(here, entry.in)],
    bundle: true,
    minify: true,
    write: false,
    format: entry.module ? "esm" : "iife",
    // Strict mode is the compiler's business; what it accepted means the same without the directive.
    tsconfigRaw: { compilerOptions: { alwaysStrict: false } },
    target: TARGET,
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
    outfile: entry.out,
  });
  const bundled = result.outputFiles[0].contents;
  const bytes = entry.squeeze ? await squeeze(bundled, Boolean(entry.module)) : bundled;
  const gzip = gzipSync(bytes, { level: 9 }).length;
  const fits = bytes.length <= entry.min && gzip <= entry.gzip;
  if (!fits) over.push(entry.out);
  const limit = (value) => (Number.isFinite(value) ? ` of ${Math.floor(value)}` : "");
  console.log(
    `${entry.out.padEnd(10)} ${String(bytes.length).padStart(7)}${limit(entry.min)} B min, ` +
      `${String(gzip).padStart(6)}${limit(entry.gzip)} B gzip${fits ? "" : "   OVER BUDGET"}`,
  );
  written.push([entry.out, bytes]);
}

if (over.length > 0) {
  console.error(`over budget: ${over.join(", ")}; nothing was written`);
  process.exit(1);
}
await mkdir(outdir, { recursive: true });
await cp(resolve(here, "../static"), outdir, { recursive: true });
for (const [name, bytes] of written) await writeFile(resolve(outdir, basename(name)), bytes);
