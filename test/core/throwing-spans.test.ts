import type { Span } from "@opentelemetry/api";
import { getTaskContext, runAttempt, taskLog } from "otel-taskflow";
import { expect, onTestFinished, test } from "vitest";
import { collectDiag, recordSpans } from "../support/telemetry.js";

const METHODS = ["isRecording", "setAttributes", "addEvent", "setStatus", "end"] as const;

/** A provider of real spans, one method of which throws. */
function throwingIn(method: (typeof METHODS)[number]) {
  const { provider, spans } = recordSpans({});
  onTestFinished(() => provider.shutdown());
  const throwing = (span: Span): Span =>
    Object.assign(span, {
      [method]: () => {
        throw new Error("broken");
      },
    });
  const tracer = provider.getTracer("real");
  const startSpan: typeof tracer.startSpan = (...args) => throwing(tracer.startSpan(...args));
  return { spans, tracerProvider: { getTracer: () => ({ ...tracer, startSpan, startActiveSpan: () => {} }) as never } };
}

test.each(METHODS)("a span whose %s throws is told to diag, and its attempt runs to its end", async (method) => {
  const diag = collectDiag();
  const { spans, tracerProvider } = throwingIn(method);
  const failing = (): never => {
    taskLog("a line");
    throw new RangeError(getTaskContext()?.funcName);
  };
  await expect(runAttempt({ funcName: "job", tracerProvider }, failing)).rejects.toThrow(new RangeError("job"));
  expect(diag.join()).toContain("a span threw");
  expect(spans().length).toBe(method === "end" ? 0 : 1);
});

test("a span that cannot say whether it records takes no line", async () => {
  collectDiag();
  const { spans, tracerProvider } = throwingIn("isRecording");
  await runAttempt({ funcName: "job", tracerProvider }, () => taskLog("a line"));
  expect(spans()[0]?.events).toEqual([]);
});
