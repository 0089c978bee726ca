import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { blocksOf } from "../support/pages.js";
import { type Run, runExample, startCommand } from "./run-example.js";

// Nothing listens there, and the exporter gives up soon.
const env = {
  OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
  OTEL_EXPORTER_OTLP_TIMEOUT: "100",
  OTEL_METRICS_EXPORTER: "none",
  OTEL_LOGS_EXPORTER: "none",
  HONEYCOMB_API_KEY: "key",
};

const unsent = ({ stderr }: Run): string[] => stderr.split("\n").filter((line) => line.includes("was not sent:"));

it.concurrent.each([
  ["examples/jaeger.ts", "tsx examples/jaeger.ts"],
  ["examples/honeycomb.ts", "tsx examples/honeycomb.ts"],
  ["npm start", startCommand()],
])("%s ends its work where no collector listens, and says so in one line", async (_title, command) => {
  const run = await runExample(command, env);
  expect(run.exitCode).toBe(0);
  expect(unsent(run)).toEqual([expect.stringMatching(/^The telemetry was not sent: \S/)]);
  expect(run.stderr).not.toMatch(/^ +at /m);
});

it("the stop() of the options page ends a service where no collector listens, and says so in one line", async () => {
  const [stop] = blocksOf(readFileSync("docs/options.md", "utf8")).filter(({ text }) =>
    text.includes("async function stop()"),
  );
  // inside the project, so that the snippet finds its packages and its tsconfig as a user's file would
  const folder = mkdtempSync(join("test", "examples", ".snippets-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const task = 'await tasks.addTask(tasks.task("t", () => {}));\nprocess.kill(process.pid, "SIGTERM");\n';
  writeFileSync(join(folder, "service.mts"), `${stop?.text}\n${task}`);
  const run = await runExample(`tsx ${join(folder, "service.mts")}`, env);
  expect(run).toMatchObject({ exitCode: 0, stdout: "" });
  expect(unsent(run)).toEqual([run.stderr.trim()]);
});
