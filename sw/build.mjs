/**
 * Bundles the service worker and the pages into one directory: `node build.mjs [OUTDIR]`.
 *
 * OUTDIR (default `../gateway/_assets/`) receives `sw.js`, `login.js` and a copy of every file of `../static/`.
 * Files of other names in OUTDIR are left alone. Prints the sizes and ends with status 1 when one is over its budget,
 * in which case nothing is written. esbuild is used through its JavaScript API: its launcher only works where its install script ran.
 */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const outdir = resolve(process.argv[2] ?? resolve(here, "../gateway/_assets"));

/** Bytes. The worker is fetched and parsed before every cold first response; the login page is read once a session. */
const ENTRIES = [
  { in: "src/worker.ts", out: "sw.js", min: 5_000, gzip: 2_200 },
  { in: "src/login.ts", out: "login.js", min: Number.POSITIVE_INFINITY, gzip: 40_000 },
];

/** Engines that have everything the worker needs; without `addRoutes` (Firefox, Safari) it is simply not called. */
const TARGET = ["es2022", "chrome111", "firefox114", "safari16.4"];

const over = [];
const written = [];
for (const entry of ENTRIES) {
  const result = await build({
    entryPoints: [resolve(here, entry.in)],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: TARGET,
    charset: "utf8",
    legalComments: "none",
    logLevel: "warning",
    outfile: entry.out,
  });
  const bytes = result.outputFiles[0].contents;
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
