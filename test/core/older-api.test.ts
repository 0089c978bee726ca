import { ProxyTracerProvider } from "@opentelemetry/api";
import { enqueueTask, getTaskContext, runAttempt } from "otel-taskflow";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { recordSpans } from "../support/telemetry.js";

// What @opentelemetry/api registered in this process, and what the copies of this package share.
const globals = globalThis as unknown as Record<symbol, Record<string, unknown> | undefined>;
const API = Symbol.for("opentelemetry.js.api.1");
const SHARED = Symbol.for("otel-taskflow.v2");

/** Has an older copy of the API registered, whose registrations the copy of this process does not accept. */
function registerOlder(registered: Record<string, unknown>): void {
  const before = globals[API];
  globals[API] = { version: "1.0.0", ...registered };
  onTestFinished(() => {
    globals[API] = before;
  });
}

const run = async (options = {}): Promise<unknown> =>
  await runAttempt({ funcName: "greet", ...options }, () => getTaskContext()?.funcName);

beforeEach(() => {
  const shared = globals[SHARED];
  if (shared !== undefined) shared.conflictReported = false;
});

test("an application on an older API is told once through its diag logger, and its tasks run", async () => {
  const warn = vi.fn();
  registerOlder({ trace: new ProxyTracerProvider(), diag: { warn } });
  expect([await run(), await run()]).toEqual(["greet", "greet"]);
  expect(warn.mock.calls).toEqual([[expect.stringMatching(/sees no spans.*@opentelemetry\/api 1\.0\.0.*newer copy/)]]);
});

test("an application on an older API without a diag logger gets one process warning", async () => {
  const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
  onTestFinished(() => warn.mockRestore());
  registerOlder({ trace: new ProxyTracerProvider() });
  expect([await run(), await run()]).toEqual(["greet", "greet"]);
  expect(warn.mock.calls).toEqual([[expect.stringContaining("1.0.0"), { code: "OTEL_TASKFLOW_API_CONFLICT" }]]);
});

test("an application on an older API that registered no tracer is told nothing", async () => {
  const warn = vi.fn();
  registerOlder({ diag: { warn } });
  expect(await run()).toBe("greet");
  expect(warn).not.toHaveBeenCalled();
});

test("an application that registered nothing of the API is told nothing, and its tasks run", async () => {
  const before = globals[API];
  delete globals[API];
  onTestFinished(() => {
    globals[API] = before;
  });
  const carrier = await enqueueTask({ funcName: "greet", tags: { plan: "pro" } }, (sent) => sent);
  expect(Object.keys(carrier)).toEqual(["otel-taskflow"]);
  expect(await run({ carrier })).toBe("greet");
});

test("an application on an older API is told where it gives a provider, too, which makes the spans", async () => {
  const warn = vi.fn();
  registerOlder({ trace: new ProxyTracerProvider(), diag: { warn } });
  const { provider, span } = recordSpans();
  await run({ tracerProvider: provider });
  expect(span("process greet").attributes["task.outcome"]).toBe("success");
  expect(warn).toHaveBeenCalledOnce();
  await provider.shutdown();
});
