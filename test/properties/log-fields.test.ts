import fc from "fast-check";
import { runAttempt, type TaskLoggerProvider, type TaskLogLine, type TaskLogRecord, taskLog } from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { startTelemetry } from "../support/telemetry.js";
import { anything, everyHostile, type Wrapped } from "./arbitraries.js";

const RUNS = 150;
const OURS = ["task.log.level", "task.id", "task.name", "task.attempt", "task.tag.plan", "level", "exception.type"];

const fieldName = (): fc.Arbitrary<string> =>
  fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...OURS, "__proto__", "constructor", "toString", ""));

const fields = (): fc.Arbitrary<[string, Wrapped][]> => fc.array(fc.tuple(fieldName(), anything()), { maxLength: 8 });

// fast-check starts with these, so that no kind of hostile value is left to chance
const alone = everyHostile().map((wrapped): [Wrapped] => [wrapped]);
const asFields = alone.map(([wrapped]): [[string, Wrapped][]] => [[["field", wrapped]]]);

function made(list: readonly [string, Wrapped][]): Record<string, unknown> {
  const into: Record<string, unknown> = {};
  for (const [name, { make }] of list) {
    Object.defineProperty(into, name, { value: make(), enumerable: true, configurable: true });
  }
  return into;
}

/** What the specification allows: a primitive, or an array of primitives of one type, `null` among them. */
function isAttribute(value: unknown): boolean {
  const kinds = new Set(
    (Array.isArray(value) ? [...value] : [value]).filter((one) => one != null).map((one) => typeof one),
  );
  const [kind = "string"] = kinds;
  return kinds.size <= 1 && ["string", "number", "boolean"].includes(kind);
}

function collectRecords(): { records: TaskLogRecord[]; loggerProvider: TaskLoggerProvider } {
  const records: TaskLogRecord[] = [];
  return { records, loggerProvider: { getLogger: () => ({ emit: (record) => void records.push(record) }) } };
}

describe("any value as a log field", () => {
  test("becomes a legal attribute of the event, beside the level", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(fields(), async (list) => {
        await runAttempt({ funcName: "job" }, () => expect(taskLog("a line", made(list))).toBeUndefined());
        const [event] = telemetry.spans().at(-1)?.events ?? [];
        expect(event?.name).toBe("a line");
        expect(Object.values(event?.attributes ?? {}).filter((one) => !isAttribute(one))).toEqual([]);
        expect(["debug", "info", "warn", "error"]).toContain(event?.attributes?.["task.log.level"]);
      }),
      { numRuns: RUNS, examples: asFields },
    );
  });

  test("is accepted by every span: what reaches addEvent is legal before the SDK drops what is not", async () => {
    const given: unknown[] = [];
    const tracer = startTelemetry().provider.getTracer("test");
    const addEvent = (_: string, attributes?: object): void => void given.push(...Object.values(attributes ?? {}));
    const startSpan = (): object => Object.assign(tracer.startSpan("attempt"), { addEvent });
    const spying = { getTracer: () => ({ startSpan }) } as never;
    await fc.assert(
      fc.asyncProperty(fields(), async (list) => {
        given.length = 0;
        await runAttempt({ funcName: "job", tracerProvider: spying }, () => taskLog("a line", made(list)));
        expect(given).not.toEqual([]);
        expect(given.filter((one) => !isAttribute(one))).toEqual([]);
      }),
      { numRuns: RUNS, examples: asFields },
    );
  });

  test("becomes a legal attribute of the record, beside the task's own", async () => {
    startTelemetry();
    const { records, loggerProvider } = collectRecords();
    const task = { funcName: "job", taskId: "id-1", tags: { plan: "pro" }, logs: "record", loggerProvider } as const;
    await fc.assert(
      fc.asyncProperty(fields(), async (list) => {
        await runAttempt(task, () => taskLog("a line", made(list)));
        const attributes = records.at(-1)?.attributes ?? {};
        expect(Object.values(attributes).filter((one) => !isAttribute(one))).toEqual([]);
        const own = { "task.id": "id-1", "task.name": "job", "task.attempt": 0, "task.tag.plan": "pro" };
        expect(attributes).toMatchObject(own);
      }),
      { numRuns: RUNS, examples: asFields },
    );
  });

  test("takes bounded space", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        await runAttempt({ funcName: "job" }, () => taskLog("a line", { field: make() }));
        const text = telemetry.spans().at(-1)?.events[0]?.attributes?.field ?? "";
        if (typeof text === "string") expect(text.length).toBeLessThan(8_300);
      }),
      { numRuns: RUNS, examples: alone },
    );
  });

  test("reaches onLog as it was, every line", async () => {
    const lines: TaskLogLine[] = [];
    const onLog = (line: TaskLogLine): void => void lines.push(line);
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        const field = make();
        await runAttempt({ funcName: "job", onLog }, () => taskLog("a line", { field }));
        expect(Object.is(lines.at(-1)?.fields.field, field)).toBe(true);
      }),
      { numRuns: RUNS, examples: alone },
    );
    expect(lines.length).toBeGreaterThanOrEqual(RUNS);
  });
});

describe("any value does taskLog no harm", () => {
  test("as the fields themselves, and the line is kept", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        await runAttempt({ funcName: "job" }, () => taskLog("a line", make() as object));
        expect(
          telemetry
            .spans()
            .at(-1)
            ?.events.map((event) => event.name),
        ).toEqual(["a line"]);
      }),
      { numRuns: RUNS, examples: alone },
    );
  });

  test("as the message", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        await runAttempt({ funcName: "job" }, () => taskLog(make() as string));
        expect(
          telemetry
            .spans()
            .at(-1)
            ?.events.map((event) => typeof event.name),
        ).toEqual(["string"]);
      }),
      { numRuns: RUNS, examples: alone },
    );
  });

  test("as the level, which stays one of the four", async () => {
    const telemetry = startTelemetry();
    await fc.assert(
      fc.asyncProperty(anything(), async ({ make }) => {
        await runAttempt({ funcName: "job" }, () => taskLog("a line", { level: make() } as object));
        const attributes = telemetry.spans().at(-1)?.events[0]?.attributes;
        expect(attributes).toEqual({ "task.log.level": "info" });
      }),
      { numRuns: RUNS, examples: alone },
    );
  });

  test("outside a task, with or without an active span", () => {
    const telemetry = startTelemetry();
    fc.assert(
      fc.property(fields(), (list) => {
        taskLog("nowhere", made(list));
        telemetry.provider.getTracer("test").startActiveSpan("request", (span) => {
          taskLog("a line", made(list));
          span.end();
        });
        expect(
          telemetry
            .spans()
            .at(-1)
            ?.events.map((event) => event.name),
        ).toEqual(["a line"]);
      }),
      { numRuns: RUNS, examples: asFields },
    );
  });
});
