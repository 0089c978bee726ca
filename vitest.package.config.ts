import { defineConfig } from "vitest/config";

// The packed tarball in projects of its own: `npm install`, TypeScript and Jest take their time.
export default defineConfig({
  test: {
    include: ["test/package/*.test.ts"],
    globalSetup: ["test/package/pack.ts"],
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
});
