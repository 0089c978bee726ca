import { execFile } from "node:child_process";
import { describe, expect, test } from "vitest";
import { postgresMissing, redisMissing } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";

// The short form of `npm run chaos`, which brings its own servers; several at once, since most of it is waiting.
const ENGINES = { bullmq: redisMissing(), "bullmq-pg": postgresMissing(), "pg-boss": postgresMissing() };
const RUNS = Object.entries({ ...ENGINES, "graphile-worker": postgresMissing() });
// a run ends by itself: no wait of its is without an end
const ENDS_WITHIN_MS = 300_000;

describe("under kills, cuts, lost answers, a restart and a deployment", {
  concurrent: true,
  timeout: ENDS_WITHIN_MS,
}, () => {
  for (const [engine, missing] of RUNS) {
    if (missing !== undefined) describeUnavailable(`chaos on ${engine}`, missing);
    else
      test.each([1, 2])(`every check finds nothing on ${engine}, seed %i`, async (seed) => {
        const { code, told } = await runChaos(["--engine", engine, "--seed", String(seed), "--short"]);
        expect(code, told).toBe(0);
      });
  }
});

test("an engine that is not known is refused in words", async () => {
  const { code, told } = await runChaos(["--engine", "sidekiq"]);
  expect(code).toBe(1);
  expect(told).toContain("--engine: expected one of bullmq, ");
});

function runChaos(args: readonly string[]): Promise<{ code: unknown; told: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ["--import", "tsx", "chaos/main.ts", ...args], (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, told: stdout + stderr });
    });
  });
}
