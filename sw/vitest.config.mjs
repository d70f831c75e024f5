import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const browser = new URL("node_modules/@firebase/auth/dist/esm/index.js", import.meta.url);

export default defineConfig({
  // The SDK as browsers get it: its build for Node keeps nothing in IndexedDB.
  resolve: { alias: [{ find: /^@firebase\/auth$/, replacement: fileURLToPath(browser) }] },
  test: {
    include: ["test/**/*.test.ts"],
    restoreMocks: true,
    unstubGlobals: true,
    server: { deps: { inline: [/@firebase/] } },
  },
});
