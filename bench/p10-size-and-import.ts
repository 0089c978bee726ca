// What an application pays before the first task: bytes in a bundle, and time to import.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { bundleSize } from "./harness/bundle-size.js";
import type { Measurement, Round } from "./harness/measurement.js";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));

export const measurements: readonly Measurement[] = [
  {
    what: "core entry minified and gzipped, without `@opentelemetry/api`",
    unit: "kB",
    judgement: "value",
    target: 20,
    rounds: 1,
    warmUp: 0,
    pairs: 1,
    ours: () => async () => (await bundleSize(fileURLToPath(import.meta.resolve("otel-taskflow")))) / 1000,
  },
  {
    what: "importing the core entry in a fresh process, above `@opentelemetry/api` alone",
    ...{ unit: "ms", judgement: "difference", target: 4, rounds: 25, pairs: 1 },
    ours: () => importing("otel-taskflow"),
    peer: () => importing("@opentelemetry/api"),
  },
  {
    what: "requiring it, above `@opentelemetry/api` alone",
    ...{ unit: "ms", judgement: "difference", target: 4, rounds: 25, pairs: 1 },
    ours: () => requiring("otel-taskflow"),
    peer: () => requiring("@opentelemetry/api"),
  },
];

function importing(name: string): Round {
  return loading("module", `await import(${JSON.stringify(name)})`);
}

function requiring(name: string): Round {
  return loading("commonjs", `require(${JSON.stringify(name)})`);
}

// By its name, as an application does: to find a package is a part of what it costs.
function loading(type: string, load: string): Round {
  const script = `const start = performance.now(); ${load}; console.log(performance.now() - start)`;
  const args = [`--input-type=${type}`, "--eval", script];
  return () => Number(execFileSync(process.execPath, args, { cwd: PACKAGE, encoding: "utf8" }));
}
