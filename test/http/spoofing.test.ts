import {
  type Carrier,
  enqueueTask,
  getTaskContext,
  runAttempt,
  type TaskManagerOptions,
  type TaskRelation,
  type TaskTags,
} from "otel-taskflow";
import { describe, expect, test } from "vitest";
import { createTasks } from "../support/tasks.js";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";
import { baggageOf, call, type Downstream, startDownstream, startFrontend } from "./servers.js";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`;
const TAGS = { source: "api" };

/** Ways a request may try to pass for one with a tag; `other=kept` is honest. */
const spoofs: Record<string, string> = {
  "a plain entry": "task.tag.plan=enterprise,other=kept",
  "an encoded dot": "task%2Etag.plan=enterprise,other=kept",
  "an entry encoded all over": "%74%61%73%6B%2E%74%61%67%2E%70%6C%61%6E=enterprise,other=kept",
  "spaces around it": "other=kept , task.tag.plan = enterprise ",
  "encoded spaces around it": "other=kept,%20task.tag.plan%20=enterprise,%09task.tag.plan=enterprise",
  "a property of its own": "task.tag.plan=enterprise;trusted=yes,other=kept",
  "the same name twice": "task.tag.plan=free,other=kept,task.tag.plan=enterprise",
  "the name of a tag that the task has": "task.tag.source=enterprise,other=kept",
  "a property of an honest entry": "other=kept;task.tag.plan=enterprise",
  "this library's own carrier key": `otel-taskflow=${encodeURIComponent('{"v":1,"tags":{"plan":"enterprise"}}')},other=kept`,
};

interface Journey {
  readonly telemetry: TestTelemetry;
  readonly downstream: Downstream;
  readonly tags: TaskTags | undefined;
  /** What the task's own call carried. */
  readonly baggage: Record<string, string>;
}

/** request → handler → addTask → task → request: what arrives where. */
async function journey(baggage: string, options: TaskManagerOptions = {}, tags: TaskTags = TAGS): Promise<Journey> {
  const telemetry = startTelemetry();
  const downstream = await startDownstream();
  const tasks = createTasks(options);
  let seen: TaskTags | undefined;
  const task = tasks.task("report", async () => {
    seen = getTaskContext()?.tags;
    await call(downstream.url);
  });
  await request(await startFrontend(() => tasks.addTask(task, [], { tags })), baggage);
  await tasks.idle();
  return { telemetry, downstream, tags: seen, baggage: baggageOf(downstream.received[0]) };
}

async function request(url: string, baggage: string): Promise<void> {
  const headers = { baggage, traceparent: TRACEPARENT, "otel-taskflow": '{"v":1,"tags":{"plan":"enterprise"}}' };
  const response = await fetch(url, { method: "POST", headers: { ...headers, connection: "close" } });
  expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
}

/** Everything the task's spans say, as one text. */
function attributesOf({ telemetry }: Pick<Journey, "telemetry">): string {
  const spans = telemetry.spans().filter((span) => span.instrumentationScope.name === "otel-taskflow");
  expect(spans.length).toBeGreaterThanOrEqual(2);
  return JSON.stringify(spans.map((span) => [span.attributes, span.events, span.links.map((link) => link.attributes)]));
}

describe.each(Object.entries(spoofs))("a request's baggage with %s", (_, baggage) => {
  test("gives its tag to no task", async () => {
    expect((await journey(baggage)).tags).toEqual(TAGS);
  });

  test("gives its tag to no span", async () => {
    const attributes = attributesOf(await journey(baggage));
    expect(attributes).toContain('"task.tag.source":"api"');
    expect(attributes).not.toContain("enterprise");
  });

  test("gives its tag to no downstream call, where the honest entry and the task's own tag do arrive", async () => {
    const arrived = (await journey(baggage)).baggage;
    expect(arrived).toMatchObject({ other: "kept", "task.tag.source": "api" });
    const tags = Object.keys(arrived).filter((key) => key.trim().startsWith("task.tag."));
    expect(tags).toEqual(["task.tag.source"]);
  });
});

describe("what travels", () => {
  const SPOOFED = "task.tag.plan=enterprise,task.tag.source=spoofed,other=kept";

  test("by default is every tag, in the trace of the request", async () => {
    const { baggage, downstream, telemetry } = await journey(SPOOFED, {}, { source: "api", region: "eu, west" });
    expect(baggage).toEqual({ other: "kept", "task.tag.source": "api", "task.tag.region": "eu, west" });
    expect(downstream.received[0]?.traceparent).toContain(TRACE);
    expect(downstream.received[0]?.traceparent).toContain(telemetry.span("process report").spanContext().spanId);
  });

  test("with baggage: false is no tag at all, and the task still has them", async () => {
    const { baggage, tags } = await journey(SPOOFED, { baggage: false });
    expect(baggage).toEqual({ other: "kept" });
    expect(tags).toEqual(TAGS);
  });

  test("with an allow-list is what it lists, and nothing a request says about it", async () => {
    const { baggage } = await journey(SPOOFED, { baggage: ["region", "plan"] }, { source: "api", region: "eu" });
    expect(baggage).toEqual({ other: "kept", "task.tag.region": "eu" });
  });

  test("leaves out empty values, which the task has all the same", async () => {
    const { baggage, tags } = await journey(SPOOFED, {}, { source: "" });
    expect(baggage).toEqual({ other: "kept" });
    expect(tags).toEqual({ source: "" });
  });

  test("with relation link is the same, in a trace of its own", async () => {
    const { baggage, downstream } = await journey(SPOOFED, { relation: "link" });
    expect(baggage).toEqual({ other: "kept", "task.tag.source": "api" });
    expect(downstream.received[0]?.traceparent).not.toContain(TRACE);
  });

  test("with relation none is the task's own alone", async () => {
    const { baggage, tags, downstream } = await journey(SPOOFED, { relation: "none" });
    expect(baggage).toEqual({ "task.tag.source": "api" });
    expect(tags).toEqual(TAGS);
    expect(downstream.received[0]?.traceparent).not.toContain(TRACE);
  });

  test("is the same at every attempt", async () => {
    startTelemetry();
    const downstream = await startDownstream();
    const tasks = createTasks();
    const task = tasks.task({ name: "report", retries: 2 }, async () => {
      await call(downstream.url);
      throw new Error("again");
    });
    await request(await startFrontend(() => tasks.addTask(task, [], { tags: TAGS })), SPOOFED);
    await tasks.idle();
    const expected = { other: "kept", "task.tag.source": "api" };
    expect(downstream.received.map(baggageOf)).toEqual([expected, expected, expected]);
  });
});

describe("through a queue of one's own", () => {
  const SPOOFED = "task.tag.plan=enterprise,other=kept";

  /** The handler stores the carrier; a worker with no context of its own takes it from there. */
  async function throughQueue(relation: TaskRelation): Promise<Omit<Journey, "tags"> & { tags: unknown }> {
    const telemetry = startTelemetry();
    const downstream = await startDownstream();
    const stored: string[] = [];
    const send = (carrier: Carrier): number => stored.push(JSON.stringify(carrier));
    await request(await startFrontend(() => enqueueTask({ funcName: "report", tags: TAGS, relation }, send)), SPOOFED);
    const carrier = JSON.parse(stored[0] ?? "") as Carrier;
    const tags = await runAttempt({ funcName: "report", carrier }, async () => {
      await call(downstream.url);
      return getTaskContext()?.tags;
    });
    return { telemetry, downstream, tags, baggage: baggageOf(downstream.received[0]) };
  }

  test.each<[TaskRelation, object]>([
    ["parent", { other: "kept", "task.tag.source": "api" }],
    ["link", { other: "kept", "task.tag.source": "api" }],
    ["none", { "task.tag.source": "api" }],
  ])("with relation %s a request's tag gets nowhere", async (relation, expected) => {
    const arrived = await throughQueue(relation);
    expect(arrived.tags).toEqual(TAGS);
    expect(arrived.baggage).toEqual(expected);
    expect(attributesOf(arrived)).not.toContain("enterprise");
  });

  test.each(["task.tag.source=api;trusted=yes,other=kept", "task.tag.source=web,other=kept", "other=kept"])(
    "the task's own entry is made anew where it arrives as %s",
    async (baggage) => {
      startTelemetry();
      const downstream = await startDownstream();
      const stored: Carrier[] = [];
      await enqueueTask({ funcName: "report", tags: TAGS }, (carrier) => stored.push(carrier));
      await runAttempt({ carrier: { ...stored[0], baggage } }, () => call(downstream.url));
      const [received] = downstream.received;
      expect(String(received?.baggage).split(",").sort()).toEqual(["other=kept", "task.tag.source=api"]);
    },
  );

  test("whose broker is called over HTTP, the call that stores a task carries no tag of a request's", async () => {
    startTelemetry();
    const broker = await startDownstream();
    await request(await startFrontend(() => enqueueTask({ funcName: "report" }, () => call(broker.url))), SPOOFED);
    expect(baggageOf(broker.received[0])).toEqual({ other: "kept" });
  });

  test("that has lost its carrier, a worker's own baggage gives no tag", async () => {
    const telemetry = startTelemetry();
    const downstream = await startDownstream();
    const seen: unknown[] = [];
    const attempt = (): Promise<void> =>
      runAttempt({ funcName: "report" }, () => {
        seen.push(getTaskContext()?.tags);
        return call(downstream.url);
      });
    await request(await startFrontend(async () => ({ done: await attempt() })), SPOOFED);
    expect(seen).toEqual([{}]);
    expect(baggageOf(downstream.received[0])).toEqual({});
    expect(JSON.stringify(telemetry.span("process report").attributes)).not.toContain("enterprise");
  });

  test.each<[string, TaskTags, object]>([
    ["with tags", TAGS, { "task.tag.source": "api" }],
    ["without tags", {}, {}],
  ])("that is delivered by a request, %s, the deliverer's baggage stays behind", async (_, tags, expected) => {
    startTelemetry();
    const downstream = await startDownstream();
    const carrier = await enqueueTask({ funcName: "report", tags }, (stored) => stored);
    const attempt = (): Promise<void> => runAttempt({ funcName: "report", carrier }, () => call(downstream.url));
    await request(await startFrontend(async () => ({ done: await attempt() })), SPOOFED);
    expect(baggageOf(downstream.received[0])).toEqual(expected);
  });

  test("that runs an attempt in a request with relation none, the request's baggage and trace stay behind", async () => {
    startTelemetry();
    const downstream = await startDownstream();
    const task = { funcName: "report", tags: TAGS, relation: "none" } as const;
    const attempt = (): Promise<void> => runAttempt(task, () => call(downstream.url));
    await request(await startFrontend(async () => ({ done: await attempt() })), SPOOFED);
    expect(baggageOf(downstream.received[0])).toEqual({ "task.tag.source": "api" });
    expect(downstream.received[0]?.traceparent).not.toContain(TRACE);
  });

  test("even a request's own headers as a carrier give no tag by their baggage", async () => {
    startTelemetry();
    const downstream = await startDownstream();
    const carrier = { baggage: SPOOFED, traceparent: TRACEPARENT };
    const tags = await runAttempt({ funcName: "report", carrier }, async () => {
      await call(downstream.url);
      return getTaskContext()?.tags;
    });
    expect(tags).toEqual({});
    expect(baggageOf(downstream.received[0])).toEqual({ other: "kept" });
  });
});

describe("a task enqueued inside a task", () => {
  const relations: TaskRelation[] = ["parent", "link", "none"];

  test.each(relations)("with relation %s takes none of its parent's tags along", async (relation) => {
    const telemetry = startTelemetry();
    const downstream = await startDownstream();
    const tasks = createTasks({ relation });
    const seen: unknown[] = [];
    const child = tasks.task("child", async () => {
      seen.push(getTaskContext()?.tags);
      await call(downstream.url);
    });
    const parent = tasks.task("parent", () => tasks.addTask(child, [], { tags: { step: "2" } }));
    const tags = { plan: "pro", step: "1" };
    await request(await startFrontend(() => tasks.addTask(parent, [], { tags })), "other=kept");
    await tasks.idle();
    expect(seen).toEqual([{ step: "2" }]);
    expect(baggageOf(downstream.received[0])).toEqual({
      ...(relation !== "none" && { other: "kept" }),
      "task.tag.step": "2",
    });
    expect(telemetry.span("enqueue child").attributes).not.toHaveProperty(["task.tag.plan"]);
    expect(telemetry.span("process child").attributes).not.toHaveProperty(["task.tag.plan"]);
  });

  test("leaves its parent's calls the parent's own tags", async () => {
    startTelemetry();
    const downstream = await startDownstream();
    const tasks = createTasks();
    const child = tasks.task("child", () => {});
    const parent = tasks.task("parent", async () => {
      await tasks.addTask(child, [], { tags: { step: "2" } });
      await call(downstream.url);
    });
    await tasks.addTask(parent, [], { tags: { plan: "pro" } });
    await tasks.idle();
    expect(baggageOf(downstream.received[0])).toEqual({ "task.tag.plan": "pro" });
  });
});

test("two requests at once keep their baggage and their tasks' tags apart", async () => {
  startTelemetry();
  const downstream = await startDownstream();
  const tasks = createTasks();
  const task = tasks.task("report", () => call(downstream.url));
  let next = 0;
  const url = await startFrontend(() => tasks.addTask(task, [], { tags: { id: String(next++) } }));
  const all = Array.from({ length: 20 }, (_, index) => request(url, `task.tag.id=x${index},caller=c${index}`));
  await Promise.all(all);
  await tasks.idle();
  const arrived = downstream.received.map(baggageOf);
  const unique = (key: string): number => new Set(arrived.map((entries) => entries[key])).size;
  expect([unique("caller"), unique("task.tag.id")]).toEqual([20, 20]);
  expect(arrived.every((entries) => /^\d+$/.test(entries["task.tag.id"] ?? ""))).toBe(true);
});
