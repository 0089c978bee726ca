import { AsyncLocalStorage } from "node:async_hooks";
import {
  type Baggage,
  type Context,
  context,
  createContextKey,
  propagation,
  type TextMapPropagator,
  trace,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { enqueueTask } from "otel-taskflow";
import { expect, test } from "vitest";
import { startTelemetry } from "../support/telemetry.js";

const OWN = createContextKey("a context manager's own key");

/** Some vendors' managers activate a context of their own, made of what they are given. */
class OwnContexts extends AsyncLocalStorageContextManager {
  override with: AsyncLocalStorageContextManager["with"] = (within, fn, thisArg, ...args) =>
    super.with(within.setValue(OWN, true), fn, thisArg, ...args);
}

/** Some vendors' managers keep baggage apart, and leave it where `with` was called. */
class LeftBaggage extends AsyncLocalStorageContextManager {
  readonly #left = new AsyncLocalStorage<Baggage | undefined>();

  override active(): Context {
    const left = this.#left.getStore();
    return left === undefined ? super.active() : propagation.setBaggage(super.active(), left);
  }

  override with: AsyncLocalStorageContextManager["with"] = (within, fn, thisArg, ...args) => {
    this.#left.enterWith(propagation.getBaggage(within));
    return super.with(within, fn, thisArg, ...args);
  };
}

/** Some vendors' propagators inject the active context and no other. */
class ActiveOnly extends W3CTraceContextPropagator implements TextMapPropagator {
  override inject(...[from, carrier, setter]: Parameters<TextMapPropagator["inject"]>): void {
    if (from === context.active()) super.inject(from, carrier, setter);
  }
}

test("a carrier holds the trace where a propagator injects the active context alone, and that is one of the manager's own", async () => {
  const telemetry = startTelemetry({ contextManager: false, propagator: false });
  context.setGlobalContextManager(new OwnContexts().enable());
  propagation.setGlobalPropagator(new ActiveOnly());
  const carrier = await enqueueTask({ funcName: "ship" }, (injected) => ({ ...injected }));
  expect(carrier.traceparent).toContain(telemetry.span("enqueue ship").spanContext().spanId);
});

test("a task's tags stay out of the caller's baggage where a manager leaves baggage behind", async () => {
  startTelemetry({ contextManager: false });
  context.setGlobalContextManager(new LeftBaggage().enable());
  const request = trace.getTracer("test").startSpan("request");
  await context.with(trace.setSpan(context.active(), request), async () => {
    const carrier = await enqueueTask({ funcName: "ship", tags: { plan: "pro" } }, (injected) => ({ ...injected }));
    expect(carrier.baggage).toContain("task.tag.plan=pro");
    expect(propagation.getBaggage(context.active())?.getAllEntries() ?? []).toEqual([]);
  });
});
