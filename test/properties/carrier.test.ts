import { context, isSpanContextValid, trace } from "@opentelemetry/api";
import fc from "fast-check";
import { type Carrier, continueAttempt, getTaskContext, runAttempt, type TaskContext } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { untouchable } from "../hostile/fixtures.js";
import { startTelemetry } from "../support/telemetry.js";
import { anything, everyHostile, key, value, type Wrapped } from "./arbitraries.js";

const RUNS = 120;
// fast-check starts with these, so that no kind of hostile value is left to chance
const EXAMPLES = everyHostile().map((wrapped): [Wrapped] => [wrapped]);
const OWN_KEY = "otel-taskflow";

/** Runs an attempt with this carrier; what it returns is what its code saw. */
function attemptWith(carrier: unknown): Promise<TaskContext | undefined> {
  return runAttempt({ funcName: "job", carrier: carrier as Carrier }, async () => {
    await Promise.resolve();
    return getTaskContext();
  });
}

function expectSane(task: TaskContext | undefined): void {
  expect(task).toMatchObject({ funcName: "job", attempt: 0, taskId: expect.stringMatching(/./s) });
  expect(task?.signal.aborted).toBe(false);
  expect([undefined, "number"]).toContain(task?.maxAttempts === undefined ? undefined : typeof task.maxAttempts);
  expect(Object.isFrozen(task?.tags)).toBe(true);
  expect(Object.values(task?.tags ?? { none: 0 }).every((one) => typeof one === "string")).toBe(true);
}

describe("an attempt runs with a sane context", () => {
  test("whatever its carrier is", async () => {
    startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        const task = await attemptWith(make());
        expectSane(task);
        expect(Object.keys(task?.tags ?? {})).toEqual([]);
      }),
      { numRuns: RUNS, examples: EXAMPLES },
    );
  });

  test("whatever its carrier holds", async () => {
    startTelemetry();
    const name = fc.oneof(fc.constantFrom(OWN_KEY, "traceparent", "tracestate", "baggage", "__proto__"), fc.string());
    const entries = fc.array(fc.tuple(name, anything()), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(entries, fc.boolean(), async (list, bare) => {
        const carrier = bare ? Object.create(null) : {};
        for (const [at, { make }] of list)
          Object.defineProperty(carrier, at, { value: make(), enumerable: true, configurable: true });
        expectSane(await attemptWith(carrier));
      }),
      { numRuns: RUNS },
    );
  });

  test("whatever JSON its entry is", async () => {
    startTelemetry();
    await fc.assert(
      fc.asyncProperty(fc.json({ maxDepth: 4 }), async (json) => expectSane(await attemptWith({ [OWN_KEY]: json }))),
      { numRuns: RUNS },
    );
  });

  test("whatever text its entry is", async () => {
    startTelemetry();
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 200 }), async (text) => {
        expectSane(await attemptWith({ [OWN_KEY]: text }));
      }),
      { numRuns: RUNS },
    );
  });

  test("whatever the fields of its entry are", async () => {
    startTelemetry();
    const field = fc.oneof(
      ...[fc.jsonValue(), fc.double(), fc.maxSafeInteger(), fc.constantFrom(1e300, -1, 0, 0.5, 2 ** 53, 8.64e15)],
      ...[fc.string({ unit: "binary" }), fc.constantFrom("parent", "link", "none", "", "x".repeat(10_000))],
    );
    const names = ["id", "name", "max", "rel", "at", "due", "parent", "tags"] as const;
    const wire = fc.record(Object.fromEntries(names.map((name) => [name, field])), { requiredKeys: [] });
    await fc.assert(
      fc.asyncProperty(wire, async (fields) => {
        expectSane(await attemptWith({ [OWN_KEY]: JSON.stringify({ v: 1, ...fields }) }));
      }),
      { numRuns: 2 * RUNS },
    );
  });

  test("whatever numbers its entry holds that JSON alone can write", async () => {
    const telemetry = startTelemetry();
    const number = fc.constantFrom("1e999", "-1e999", "1e-400", "1e300", "9007199254740993", "-0", "0.1");
    const name = fc.constantFrom("max", "at", "due", "v", "id");
    await fc.assert(
      fc.asyncProperty(name, number, async (at, text) => {
        expectSane(await attemptWith({ [OWN_KEY]: `{"v":1,"${at}":${text}}` }));
        const wait = telemetry.spans().at(-1)?.attributes["task.wait.duration"] ?? 0;
        expect(Number.isFinite(wait)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test.each([
    ["of ten megabytes", JSON.stringify({ v: 1, tags: { plan: "pro" }, padding: "x".repeat(10_000_000) })],
    ["nested a hundred thousand times", `${"[".repeat(100_000)}1${"]".repeat(100_000)}`],
    ["with tags under __proto__", '{"v":1,"__proto__":{"tags":{"plan":"pro"}}}'],
    [
      "with a thousand tags",
      JSON.stringify({ v: 1, tags: Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [i, ""])) }),
    ],
    ["of a later version", '{"v":2,"tags":{"plan":"pro"}}'],
  ])("with an entry %s, and no tags", async (_, json) => {
    startTelemetry();
    const task = await attemptWith({ [OWN_KEY]: json, baggage: json, traceparent: json });
    expectSane(task);
    expect(task?.tags).toEqual({});
  });

  test.each(["-5", "0.5", "1e300", "4294967296", "1e999", '"1"', "null"])(
    "as the first attempt where it goes on elsewhere and its entry says it is number %s",
    async (attempt) => {
      const carrier = { [OWN_KEY]: `{"v":1,"id":"a","name":"job","max":${attempt},"attempt":${attempt}}` };
      const task = await continueAttempt({ carrier }, () => getTaskContext());
      expect(task).toMatchObject({ attempt: 0, maxAttempts: undefined });
    },
  );

  test("with legal tags beside broken fields", async () => {
    const json = '{"v":1,"id":7,"max":"many","rel":"sideways","at":null,"due":"soon","tags":{"plan":"pro"}}';
    const task = await attemptWith({ [OWN_KEY]: json });
    expectSane(task);
    expect(task).toMatchObject({ maxAttempts: undefined, tags: { plan: "pro" } });
  });

  test.each(['{"bad key":"x"}', '{"plan":7}', '["plan"]', '"plan"', "null"])(
    "and its own id, with tags %s",
    async (tags) => {
      const task = await attemptWith({ [OWN_KEY]: `{"v":1,"id":"id-1","max":3,"tags":${tags}}` });
      expectSane(task);
      expect(task).toMatchObject({ taskId: "id-1", maxAttempts: 3, tags: {} });
    },
  );

  test("with a carrier that is a proxy of a good one and throws", async () => {
    const task = await attemptWith(untouchable({ [OWN_KEY]: '{"v":1,"tags":{"plan":"pro"}}' }));
    expectSane(task);
    expect(task?.tags).toEqual({});
  });
});

describe("no tag comes from", () => {
  const baggage = (): fc.Arbitrary<string> =>
    fc.array(baggageEntry(), { minLength: 1, maxLength: 8 }).map((entries) => entries.join(","));
  const baggageEntry = (): fc.Arbitrary<string> =>
    fc.oneof(
      fc
        .tuple(fc.constantFrom("task.tag.", "task%2Etag%2E", "task.tag%2E", " task.tag.", "TASK.TAG."), key(), value())
        .map(([prefix, name, text]) => `${prefix}${name}=${encodeURIComponent(text)}`),
      fc.tuple(key(), value()).map(([name, text]) => `${name}=${encodeURIComponent(text)};task.tag.plan=x`),
      fc.string({ unit: "binary" }),
      fc.constantFrom(`${OWN_KEY}={"v":1,"tags":{"plan":"x"}}`, "task.tag.=x", "task.tag.plan", "=x", ";", ",,"),
    );

  test("a carrier's baggage", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(baggage(), async (text) => {
        const task = await attemptWith({ baggage: text });
        expect(Object.keys(task?.tags ?? { none: 0 })).toEqual([]);
        expect(Object.keys(telemetry.spans().at(-1)?.attributes ?? {}).join()).not.toMatch(/tag/);
      }),
      { numRuns: RUNS },
    );
  });

  test("a carrier's baggage, when it has tags of its own", async () => {
    startTelemetry();
    const own = '{"v":1,"tags":{"source":"api"}}';
    await fc.assert(
      fc.asyncProperty(baggage(), async (text) => {
        const task = await attemptWith({ baggage: text, [OWN_KEY]: own });
        expect(Object.entries(task?.tags ?? {})).toEqual([["source", "api"]]);
      }),
      { numRuns: RUNS },
    );
  });

  test("a carrier's traceparent and tracestate", async () => {
    startTelemetry();
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("task.tag.plan=enterprise", `00-${"a".repeat(32)}-${"b".repeat(16)}-01`, "x".repeat(100_000)),
    );
    await fc.assert(
      fc.asyncProperty(text, text, async (traceparent, tracestate) => {
        const task = await attemptWith({ traceparent, tracestate });
        expect(Object.keys(task?.tags ?? { none: 0 })).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });
});

test("a damaged carrier does not lend the attempt the trace of whoever runs it", async () => {
  const telemetry = startTelemetry();
  const worker = telemetry.provider.getTracer("test").startSpan("worker loop");
  await context.with(trace.setSpan(context.active(), worker), () =>
    attemptWith({ [OWN_KEY]: "{", traceparent: "damaged" }),
  );
  worker.end();
  const span = telemetry.span("process job");
  expect(isSpanContextValid(span.spanContext())).toBe(true);
  expect(span.parentSpanContext).toBeUndefined();
});
