import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { context, propagation } from "@opentelemetry/api";
import { type AttemptInfo, type Carrier, carryAttempt, enqueueTask, runAttempt } from "otel-taskflow";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { startTelemetry } from "../support/telemetry.js";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "./otlp-receiver.js";
import { printedFacts } from "./printed-facts.js";
import { expectedOutput, type Run, runExample } from "./run-example.js";
import type { Told } from "./threads/other-side.js";

const OTHER_SIDE = new URL("./threads/other-side.ts", import.meta.url);
const TSX = ["--import", new URL("../../examples/threads/tsx.js", import.meta.url).href];
const task = { funcName: "resize", taskId: "t-1", maxAttempts: 3, tags: { plan: "pro" } };

interface OtherSide {
  ask(info: AttemptInfo): Promise<Told>;
}

function startThread(): OtherSide {
  const thread = new Worker(OTHER_SIDE, { execArgv: TSX });
  onTestFinished(async () => void (await thread.terminate()));
  return {
    async ask(info) {
      thread.postMessage(info);
      const [told] = await once(thread, "message");
      return told;
    },
  };
}

function startProcess(): OtherSide {
  const child = fork(fileURLToPath(OTHER_SIDE), { execArgv: TSX });
  onTestFinished(() => child.disconnect());
  return {
    async ask(info) {
      child.send(info);
      const [told] = await once(child, "message");
      return told;
    },
  };
}

function inTenant<T>(fn: () => T): T {
  const baggage = propagation.createBaggage({ tenant: { value: "t1" } });
  return context.with(propagation.setBaggage(context.active(), baggage), fn);
}

describe.each([
  ["a thread", startThread],
  ["another process", startProcess],
])("%s", (_title, start) => {
  it("knows the task it runs, its attempt and its tags, and gets the baggage", async () => {
    startTelemetry();
    const carrier = await inTenant(() => enqueueTask(task, (one: Carrier) => one));
    const { maxAttempts, tags } = task;
    expect(await start().ask({ carrier, attempt: 1 })).toEqual({
      task: { taskId: "t-1", funcName: "resize", attempt: 1, maxAttempts, tags },
      tenant: "t1",
      error: "RangeError: attempt 1 failed",
    });
  });

  it("knows the task it does a part of, its attempt and its tags, and gets the baggage", async () => {
    startTelemetry();
    const queued = await inTenant(() => enqueueTask(task, (one: Carrier) => one));
    const carrier = await runAttempt({ carrier: queued, attempt: 2 }, carryAttempt);
    expect(await start().ask({ carrier })).toEqual({ task: { ...task, attempt: 2 }, tenant: "t1" });
  });
});

describe.each(["worker-threads", "child-process", "piscina"])("examples/threads/%s.ts", (name) => {
  const example = `examples/threads/${name}.ts`;

  it("prints what its closing comment says, and ends by itself", async () => {
    const run = await runExample(`tsx ${example}`);
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    expect(printedFacts(run.stdout)).toEqual(printedFacts(expectedOutput(example)));
  });
});

/** Runs an example that sends its spans to a backend. */
function received(example: string): { spans(prefix: string): ReceivedSpan[] } {
  let receiver: OtlpReceiver;
  let run: Run;
  beforeAll(async () => {
    receiver = await startOtlpReceiver();
    run = await runExample(`tsx ${example}`, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint });
    expect(run).toMatchObject({ exitCode: 0, stderr: "" });
    return () => receiver.close();
  });
  return { spans: (prefix) => receiver.spans.filter((span) => span.name.startsWith(prefix)) };
}

describe.each(["worker-threads", "child-process"])("the traces of examples/threads/%s.ts", (name) => {
  const { spans } = received(`examples/threads/${name}.ts`);

  it("lead from the side that enqueued to each attempt on the other", () => {
    const outcomes = spans("enqueue").map(({ traceId, spanId }) =>
      spans("process")
        .filter((span) => span.traceId === traceId && span.parentSpanId === spanId)
        .map(({ attributes }) => attributes["task.outcome"]),
    );
    expect(outcomes).toEqual([["retry", "success"], ["failure"]]);
  });
});

describe("the trace of examples/threads/piscina.ts", () => {
  const { spans } = received("examples/threads/piscina.ts");

  it("shows under each attempt what the thread did for it", () => {
    const attempts = spans("process").map(({ spanId, attributes }) => [spanId, attributes["task.attempt"]]);
    expect(attempts.map(([, attempt]) => attempt)).toEqual([0, 1]);
    const parts = spans("continue").map(({ parentSpanId, attributes }) => [parentSpanId, attributes["task.attempt"]]);
    expect(parts).toEqual(attempts);
    const ids = [...spans("enqueue"), ...spans("continue")].map(({ attributes }) => attributes["task.id"]);
    expect([ids.length, new Set(ids).size]).toEqual([3, 1]);
  });
});
