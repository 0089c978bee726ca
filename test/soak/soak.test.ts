import { execFile } from "node:child_process";
import { expect, test } from "vitest";

// The short form of `npm run soak`, on the sources: the books have to balance, times judge nothing.
test("a random load ends once each, on every engine, and leaves nothing behind", async () => {
  const seed = String(Date.now() % 1_000_000);
  const args = ["--expose-gc", "--import", "tsx", "soak/run.ts", "short", seed];
  const run = await new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) => resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
  // a run that is tried again would leave no trace of what was wrong
  if (run.code !== 0 || run.stderr !== "") console.error(`seed ${seed}\n${run.stdout}${run.stderr}`);
  expect({ ...run, seed }).toMatchObject({ code: 0, stderr: "" });
  expect(run.stdout).toContain("handles left: 0");
});
