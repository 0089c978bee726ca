import { type Context, type ContextManager, context, ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { enqueueTask, getTaskContext, runAttempt } from "otel-taskflow";
import { beforeEach, describe, expect, test } from "vitest";
import { collectDiag, startTelemetry, type TestTelemetry } from "../support/telemetry.js";

/** A Context as another copy of the API has it. */
class OtherContext implements Context {
  readonly probes: string[];
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: ReadonlyMap<symbol, unknown> = new Map(), probes: string[] = []) {
    this.#values = values;
    this.probes = probes;
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): Context {
    if (key.description?.includes("probe")) this.probes.push(key.description);
    return this.made(new Map(this.#values).set(key, value));
  }

  deleteValue(key: symbol): Context {
    return this.made(new Map([...this.#values].filter(([other]) => other !== key)));
  }

  made(values: ReadonlyMap<symbol, unknown>): Context {
    return new OtherContext(values, this.probes);
  }
}

/** Keeps what is deleted. */
class Keeping extends OtherContext {
  override deleteValue(): Context {
    return this;
  }

  override made(values: ReadonlyMap<symbol, unknown>): Context {
    return new Keeping(values, this.probes);
  }
}

/** Forgets what is set. */
class Forgetting extends OtherContext {
  override setValue(): Context {
    return this;
  }
}

/** As {@link OtherContext}, without a class. */
const plain = (values: ReadonlyMap<symbol, unknown> = new Map()): Context => ({
  getValue: (key) => values.get(key),
  setValue: (key, value) => plain(new Map(values).set(key, value)),
  deleteValue: (key) => plain(new Map([...values].filter(([other]) => other !== key))),
});

let active: Context;
const manager: ContextManager = {
  active: () => active,
  with(within, fn, self, ...args) {
    const before = active;
    active = within;
    try {
      return fn.call(self as ThisParameterType<typeof fn>, ...args);
    } finally {
      active = before;
    }
  },
  bind: (_within, target) => target,
  enable: () => manager,
  disable: () => manager,
};

let telemetry: TestTelemetry;
let around: Span;
let diag: string[];
beforeEach(() => {
  telemetry = startTelemetry({ contextManager: false });
  diag = collectDiag();
  context.setGlobalContextManager(manager);
  active = ROOT_CONTEXT;
  around = trace.getTracer("test").startSpan("around");
});

const enqueueIn = async (within: Context): Promise<string | undefined> => {
  active = trace.setSpan(within, around);
  await enqueueTask({ funcName: "job" }, () => {});
  return telemetry.named("enqueue job").at(-1)?.parentSpanContext?.spanId;
};

describe("a context manager whose contexts are of another class", () => {
  test("is followed where they behave as contexts do, and the class is tried once", async () => {
    const within = new OtherContext();
    expect(await enqueueIn(within)).toBe(around.spanContext().spanId);
    expect(await enqueueIn(within)).toBe(around.spanContext().spanId);
    expect(within.probes).toEqual(["otel-taskflow.probe"]);
    expect(diag).toEqual([]);
  });

  test("carries an attempt through them", async () => {
    active = new OtherContext();
    expect(await runAttempt({ funcName: "job" }, () => getTaskContext()?.funcName)).toBe("job");
  });

  test.each([
    ["keep what is deleted", new Keeping()],
    ["forget what is set", new Forgetting(new Map([[Symbol("any"), 1]]))],
  ])("is not followed where they %s, and diag hears of it", async (_how, within) => {
    const span = trace.setSpan(within, around);
    active = span;
    await enqueueTask({ funcName: "job" }, () => {});
    expect(telemetry.span("enqueue job").parentSpanContext).toBeUndefined();
    expect(diag.join()).toContain("the context manager gave no Context");
  });

  test("is tried each time where they have no class, as the next one may be another", async () => {
    expect(await enqueueIn(plain())).toBe(around.spanContext().spanId);
    expect(diag).toEqual([]);
    active = { ...trace.setSpan(plain(), around), setValue: () => plain() };
    await enqueueTask({ funcName: "job" }, () => {});
    expect(telemetry.named("enqueue job").at(-1)?.parentSpanContext).toBeUndefined();
    expect(diag.join()).toContain("the context manager gave no Context");
  });

  test("and throws is told to diag", async () => {
    active = new OtherContext();
    const { active: read } = manager;
    manager.active = () => {
      throw new Error("broken");
    };
    await enqueueTask({ funcName: "job" }, () => {}).finally(() => {
      manager.active = read;
    });
    expect(diag.join()).toContain("the context manager failed");
  });
});
