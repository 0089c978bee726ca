import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { addJob } from "otel-taskflow/bullmq";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { startTelemetry } from "../../support/telemetry.js";
import { describeVersions, type Lab } from "./lab.js";
import type { SandboxSpan } from "./sandbox/telemetry.js";

const SOURCE = fileURLToPath(new URL("./sandbox/processor.ts", import.meta.url));

// one file of JavaScript, since threads take no loader
const folder = mkdtempSync(join(tmpdir(), "otel-taskflow-sandbox-"));
const processor = join(folder, "processor.cjs");
await build({
  ...{ entryPoints: [SOURCE], outfile: processor, bundle: true, platform: "node", format: "cjs" },
  ignoreAnnotations: true, // this package's, by which its tests have no side effects either
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

await describeVersions("a sandbox", (open) => {
  describe.each([{ kind: "a process" }, { kind: "a thread", threads: true }])(
    "that is $kind",
    ({ threads = false }) => {
      test("runs a job in its task's context, with a span of its own SDK", async () => {
        const telemetry = startTelemetry();
        const lab = open();
        const { spans } = sandbox(lab, threads);
        const { id } = await addJob(lab.queue, "looks", { order: 7 }, { attempts: 2, tags: { plan: "pro" } });
        const { returnvalue } = await lab.reaches("completed", id);
        const context = {
          taskId: id,
          funcName: "looks",
          attempt: 0,
          redelivered: false,
          maxAttempts: 2,
          tags: { plan: "pro" },
        };
        expect(returnvalue).toEqual({ ...context, data: { order: 7 } });
        const enqueued = telemetry.span("enqueue looks").spanContext();
        const [span] = spans();
        expect(span).toMatchObject({ traceId: enqueued.traceId, parentSpanId: enqueued.spanId, events: ["looking"] });
        expect(span?.attributes).toMatchObject({
          "task.outcome": "success",
          "messaging.destination.name": lab.queue.name,
        });
        expect(span?.pid === process.pid).toBe(threads);
      });

      test("runs a failed job again as the next attempt, and stops at a NonRetryableError", async () => {
        const lab = open();
        const { spans } = sandbox(lab, threads);
        const [fails, givesUp] = [
          await addJob(lab.queue, "fails", {}, { attempts: 2 }),
          await addJob(lab.queue, "gives-up", {}, { attempts: 5 }),
        ];
        const jobs = [await lab.reaches("failed", fails.id), await lab.reaches("failed", givesUp.id)];
        expect(jobs.map(({ failedReason, attemptsMade }) => [failedReason, attemptsMade])).toEqual([
          ["no", 2],
          ["card expired", 1],
        ]);
        const ended = spans().map(({ name, attributes }) => [
          name,
          attributes["task.attempt"],
          attributes["task.outcome"],
          attributes["error.type"],
        ]);
        expect(ended).toContainEqual(["process gives-up", 0, "failure", "NonRetryableError"]);
        expect(ended.filter(([name]) => name === "process fails")).toEqual([
          ["process fails", 0, "retry", "TypeError"],
          ["process fails", 1, "failure", "TypeError"],
        ]);
      });

      test("fails a job that throws undefined", async () => {
        const lab = open();
        sandbox(lab, threads);
        const { id } = await addJob(lab.queue, "throws-nothing", {});
        expect((await lab.reaches("failed", id)).failedReason).toBe("the processor threw undefined");
      });

      test("passes a cancellation on to the task's signal", async () => {
        const lab = open();
        const { worker } = sandbox(lab, threads);
        const { id = "" } = await addJob(lab.queue, "is-cancelled", {});
        const { returnvalue } = await vi.waitFor(async () => {
          worker.cancelJob(id);
          expect(await (await lab.queue.getJob(id))?.getState()).toBe("completed");
          return await lab.reaches("completed", id);
        }, 30_000);
        expect(returnvalue).toEqual({ aborted: true });
      });
    },
  );
});

function sandbox(lab: Lab, useWorkerThreads: boolean): { worker: ReturnType<Lab["work"]>; spans(): SandboxSpan[] } {
  const file = join(folder, `${lab.queue.name}.jsonl`);
  const options = { execArgv: [], env: { ...process.env, SANDBOX_SPANS: file } };
  // starting a sandbox takes longer than the locks of other tests last
  const patient = { lockDuration: 30_000, stalledInterval: 30_000 };
  const worker = lab.work(processor, {
    ...{ ...patient, useWorkerThreads, workerForkOptions: options, workerThreadsOptions: options },
  });
  onTestFinished(() => worker.close());
  const read = (): string[] => (existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []);
  return { worker, spans: () => read().map((line) => JSON.parse(line) as SandboxSpan) };
}
