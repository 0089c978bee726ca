import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import manifest from "./package.json" with { type: "json" };

// test/compat/run.mjs says where it has installed what these tests run on
const notHere = process.env.COMPAT_CELLS === undefined ? ["test/compat/**"] : [];

// the sources of the package's entries: "./dist/esm/sdk/index.js" is built from src/sdk/index.ts
const entries = Object.entries<string | { import: { default: string } }>(manifest.exports).flatMap(([path, target]) =>
  typeof target === "string" ? [] : [{ path: path.slice(1), source: target.import.default }],
);
const alias = entries.map(({ path, source }) => ({
  find: new RegExp(`^${manifest.name}${path}$`),
  replacement: fileURLToPath(new URL(source.replace("dist/esm", "src").replace(/js$/, "ts"), import.meta.url)),
}));

export default defineConfig({
  resolve: { alias },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/package/**", "**/node_modules/**", ...notHere],
    // one limit for all tests: what hangs is to end, and a slow or busy machine needs many times as long as a quick one
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // most of the time is spent waiting: for servers, other processes, delays
    maxWorkers: 4,
    maxConcurrency: 4,
    globalSetup: ["test/support/own-postgres.ts"],
    typecheck: { enabled: false },
    coverage: { provider: "v8", include: ["src/**"], reporter: ["text", "html"] },
  },
});
