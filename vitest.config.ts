import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

// test/compat/run.mjs says where it has installed what these tests run on
const notHere = process.env.COMPAT_CELLS === undefined ? ["test/compat/**"] : [];
const source = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^otel-taskflow$/, replacement: source("index.ts") },
      { find: /^otel-taskflow\/sdk$/, replacement: source("sdk/index.ts") },
      { find: /^otel-taskflow\/(express|fastify|hono)$/, replacement: source("web/$1.ts") },
      { find: /^otel-taskflow\/(bullmq|pg-boss|graphile-worker)$/, replacement: source("engines/$1/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/package/**", "**/node_modules/**", ...notHere],
    testTimeout: 20_000,
    // most of the time is spent waiting: for servers, other processes, delays
    maxWorkers: 4,
    typecheck: { enabled: false },
  },
});
