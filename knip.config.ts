import type { KnipConfig } from "knip";
import manifest from "./package.json" with { type: "json" };

// "./dist/esm/sdk/index.js" is built from src/sdk/index.ts
const sources = Object.values<string | { import: { default: string } }>(manifest.exports).flatMap((target) =>
  typeof target === "string" ? [] : [target.import.default.replace("./dist/esm/", "src/").replace(/js$/, "ts")],
);

const config: KnipConfig = {
  entry: [
    ...sources,
    "examples/**/*.ts",
    // started as programs of their own
    "bench/{main,growth,p*,harness/*}.ts",
    "chaos/{main,process,table}.ts",
    "soak/run.ts",
    "test/adoption/programs/*.{cjs,mjs}",
    "test/adoption/service/**/*.{ts,mjs}",
    "test/e2e/*.ts",
    "test/engines/{process/*,table}.ts",
    "test/instrumentation/programs/*.mjs",
    "test/manager/decorated/mailer.ts",
  ],
  // projects of their own, with their own packages
  project: ["**/*.{ts,mjs}", "!test/compat/cells/**", "!test/package/fixtures/**"],
  // Stryker's runner is told of one of them
  vitest: { config: ["vitest*.config.ts"] },
  // exported for who reads the declarations
  ignoreExportsUsedInFile: { interface: true, type: true },
  // imported under a name that is put together while a test runs
  ignoreDependencies: ["@opentelemetry/api-logs", "express4"],
  // one of the servers that .ci/run installs
  ignoreBinaries: ["redis-server"],
};

export default config;
