import { type Context, context, propagation, ROOT_CONTEXT } from "@opentelemetry/api";
import { enqueueTask, getTaskContext, runAttempt } from "otel-taskflow";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { collectDiag, startTelemetry } from "../support/telemetry.js";

const MAX_CHARACTERS = 131_072;

const own = (entry: object): string => JSON.stringify({ v: 1, id: "a", name: "job", ...entry });
const many = (count: number): [string, string][] => Array.from({ length: count }, (_, n) => [`k${n}`, "v"]);

/** What the global propagator is given of a carrier when an attempt reads it, and the id that is read. */
async function readOf(carrier: object): Promise<{ keys: string[]; id: string | undefined; diag: string[] }> {
  const diag = collectDiag();
  let keys: string[] = [];
  const extract = (within: Context, given: object): Context => {
    keys = Object.keys(given);
    return within;
  };
  propagation.disable();
  propagation.setGlobalPropagator({ inject: () => {}, extract, fields: () => [] });
  onTestFinished(() => propagation.disable());
  const id = await runAttempt({ carrier: { ...carrier }, funcName: "job" }, () => getTaskContext()?.taskId);
  return { keys, id, diag };
}

describe("a carrier is read", () => {
  test("up to 128 entries besides the task's own, which counts for none and may stand anywhere", async () => {
    const entries = [...many(128), ["otel-taskflow", own({})]];
    const { keys, id, diag } = await readOf(Object.fromEntries(entries));
    expect([keys.length, keys.at(-1), id]).toEqual([129, "otel-taskflow", "a"]);
    expect(diag).toEqual([]);
  });

  test("without the entries beyond, but for the task's own, and diag hears of it", async () => {
    const entries = [...many(130), ["otel-taskflow", own({})]];
    const { keys, id, diag } = await readOf(Object.fromEntries(entries));
    expect([keys.length, keys.at(-2), keys.at(-1), id]).toEqual([129, "k127", "otel-taskflow", "a"]);
    expect(diag.join()).toContain("a carrier is too large");
  });

  test("up to 131,072 characters of keys and values", async () => {
    const long = "x".repeat(MAX_CHARACTERS - "long".length - "k0v".length);
    const whole = await readOf({ long, k0: "v" });
    expect([whole.keys, whole.diag]).toEqual([["long", "k0"], []]);
    const { keys, diag } = await readOf({ long, k0: "vv", k1: "v" });
    expect(keys).toEqual(["long"]);
    expect(diag.join()).toContain("a carrier is too large");
  });

  test("for its texts alone: what is none is left out, and counts for nothing", async () => {
    const odd = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`odd${n}`, n]));
    const { keys, diag } = await readOf({ ...odd, k0: "v" });
    expect([keys, diag]).toEqual([["k0"], []]);
  });

  test("for the task's own entry up to 131,072 characters", async () => {
    const entry = own({});
    const fits = await readOf({ "otel-taskflow": entry.padEnd(MAX_CHARACTERS) });
    expect([fits.id, fits.diag]).toEqual(["a", []]);
    const { id, diag } = await readOf({ "otel-taskflow": entry.padEnd(MAX_CHARACTERS + 1) });
    expect(id).toHaveLength(36);
    expect(diag.join()).toContain("no known version");
  });

  test.each(["x".repeat(512), "x"])("for an id of 1 to 512 characters, as a name", async (text) => {
    const { id } = await readOf({ "otel-taskflow": own({ id: text }) });
    expect(id).toBe(text);
  });

  test.each(["", "x".repeat(513), 7])("without an id that no task can have", async (odd) => {
    const { id } = await readOf({ "otel-taskflow": own({ id: odd }) });
    expect(id).toHaveLength(36);
  });
});

describe("a carrier that says odd things", () => {
  const factsOf = async (entry: object): Promise<unknown[]> => {
    const telemetry = startTelemetry();
    const carrier = { "otel-taskflow": own(entry) };
    const maxAttempts = await runAttempt({ carrier }, () => getTaskContext()?.maxAttempts);
    return [maxAttempts, telemetry.span("process job").attributes["task.wait.duration"]];
  };

  test.each([1, 2_147_483_647])("is believed in a count that a database can hold: %d", async (max) => {
    expect((await factsOf({ max }))[0]).toBe(max);
  });

  test.each([0, -1, 1.5, 2_147_483_648, "3", null])("is not believed in a number of attempts of %j", async (max) => {
    expect((await factsOf({ max }))[0]).toBeUndefined();
  });

  test("is believed in a time that has long passed", async () => {
    expect((await factsOf({ due: 1 }))[1]).toBeGreaterThan(1_000_000);
  });

  test("is believed in the last time that a Date can tell", async () => {
    expect((await factsOf({ due: 8_640_000_000_000_000 }))[1]).toBe(0);
  });

  test.each([0, -1, 8_640_000_000_000_001, "1", null])("is not believed in a time of %j", async (due) => {
    expect((await factsOf({ due }))[1]).toBeUndefined();
  });

  test.each(["null", "7", '"text"', "[]"])("is of no known version where its entry is %s", async (entry) => {
    const { id, diag } = await readOf({ "otel-taskflow": entry });
    expect(id).toHaveLength(36);
    expect(diag).toEqual([expect.stringContaining("no known version")]);
  });

  test.each([[null], [7], ["text"], [["text"]]])("is none where it is %j, and says nothing", async (odd) => {
    const diag = collectDiag();
    expect(await runAttempt({ funcName: "job", carrier: odd as never }, () => getTaskContext()?.tags)).toEqual({});
    expect(diag).toEqual([]);
  });
});

describe("a task's own baggage", () => {
  beforeEach(() => void startTelemetry());

  const sent = async (tags: Record<string, string>): Promise<string> =>
    (await enqueueTask({ funcName: "job", tags }, (carrier) => carrier)).baggage ?? "";
  // "task.tag.", a letter, "=", 256 characters and ",": 268 bytes each
  const full = Object.fromEntries([..."abcdefg"].map((tag) => [tag, "x".repeat(256)]));
  const left = 2_048 - 7 * 268 - "task.tag.h=,".length;

  test("fills 2,048 bytes to the last, with what each entry needs besides its value", async () => {
    expect(await sent({ ...full, h: "x".repeat(left) })).toMatch(/,task\.tag\.h=x+$/);
    expect(await sent({ ...full, h: "x".repeat(left + 1) })).not.toContain("task.tag.h");
  });

  test("counts a value as it is encoded", async () => {
    const encoded = "é".repeat(Math.floor(left / 6));
    expect(await sent({ ...full, h: encoded })).toContain("task.tag.h=%C3%A9");
    expect(await sent({ ...full, h: `${encoded}é` })).not.toContain("task.tag.h");
  });

  test("has an entry that fits after one that does not", async () => {
    expect(await sent({ ...full, h: "x".repeat(left + 1), i: "short" })).toMatch(/,task\.tag\.i=short$/);
  });

  test("has 256 characters of a value, and no empty one", async () => {
    expect(await sent({ plan: "x".repeat(257), none: "" })).toBe(`task.tag.plan=${"x".repeat(256)}`);
  });
});

describe("baggage that is read late", () => {
  const changed = (): unknown[] => {
    const baggage = propagation.getActiveBaggage();
    const names = (other = baggage): string[] | undefined => other?.getAllEntries().map(([key]) => key);
    return [
      names(),
      baggage?.getEntry("task.tag.plan")?.value,
      baggage?.getEntry("nothing"),
      names(baggage?.setEntry("more", { value: "1" })),
      names(baggage?.removeEntry("tenant")),
      names(baggage?.removeEntries("tenant", "task.tag.plan")),
      names(baggage?.clear()),
    ];
  };

  test("is baggage as any other, and is not changed by who makes another of it", async () => {
    startTelemetry();
    const tasks = createTasks();
    const seen: unknown[][] = [];
    const task = tasks.task("task", () => void seen.push(changed(), changed()));
    const tenant = propagation.createBaggage({ tenant: { value: "t1" } });
    await context.with(propagation.setBaggage(ROOT_CONTEXT, tenant), () =>
      tasks.addTask(task, [], { tags: { plan: "pro" } }),
    );
    await tasks.idle();
    const own = ["task.tag.plan", "tenant"];
    const all = [own, "pro", undefined, [...own, "more"], ["task.tag.plan"], [], []];
    expect(seen).toEqual([all, all]);
  });

  test("of a task that another one added holds that task's tags alone", async () => {
    startTelemetry();
    const tasks = createTasks();
    const seen: unknown[] = [];
    const inner = tasks.task("inner", () => void seen.push(propagation.getActiveBaggage()?.getAllEntries()));
    const outer = tasks.task("outer", () => tasks.addTask(inner, [], { tags: { lane: "fast" } }));
    const plain = tasks.task("plain", () => tasks.addTask(inner));
    const tenant = propagation.createBaggage({ tenant: { value: "t1" } });
    const add = (fn: typeof outer): Promise<string> => tasks.addTask(fn, [], { tags: { plan: "pro" } });
    await context.with(propagation.setBaggage(ROOT_CONTEXT, tenant), () => add(outer));
    await context.with(propagation.setBaggage(ROOT_CONTEXT, tenant), () => add(plain));
    await tasks.idle();
    const others = ["tenant", { value: "t1" }];
    expect(seen).toEqual([[["task.tag.lane", { value: "fast" }], others], [others]]);
  });
});
