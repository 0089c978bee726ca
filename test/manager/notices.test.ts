import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  type EngineHost,
  memoryEngine,
  type TaskEngine,
  TaskManager,
  type TaskManagerOptions,
  type TaskNotice,
} from "otel-taskflow";
import { afterEach, beforeEach, describe, expect, type MockInstance, onTestFinished, test, vi } from "vitest";
import { collectDiag } from "../support/telemetry.js";

const MINUTE_MS = 60_000;
let printed: MockInstance;

beforeEach(() => {
  vi.useFakeTimers();
  printed = vi.spyOn(console, "error").mockReturnValue();
});
afterEach(() => {
  printed.mockRestore();
  vi.useRealTimers();
});

const lines = (): unknown[] => printed.mock.calls.map(([line]) => line);

/** A manager, and the host that its engine would call. */
function managerWithHost(options?: TaskManagerOptions): { tasks: TaskManager; host: EngineHost } {
  const hosts: EngineHost[] = [];
  const engine: TaskEngine = memoryEngine();
  const open = engine.open.bind(engine);
  engine.open = (host) => {
    hosts.push(host);
    return open(host);
  };
  const tasks = new TaskManager({ ...options, engine });
  onTestFinished(async () => void (await tasks.shutdown({ timeout: 0 })));
  const [host] = hosts;
  if (host === undefined) throw new Error("the engine was not opened");
  return { tasks, host };
}

/** Runs a task that gives up, this many times. */
async function giveUp(tasks: TaskManager, times = 1, name = "send", error: unknown = new RangeError("down")) {
  const task = tasks.task(name, () => Promise.reject(error));
  for (let n = 0; n < times; n += 1) await tasks.addTask(task);
  await tasks.idle();
}

async function arriveUnknown(host: EngineHost, name: string): Promise<void> {
  const origin = host.receive({ id: "7", name, carrier: undefined });
  const rest = { attempt: 0, dueAt: undefined, redelivered: false, previous: undefined };
  await host.run({ origin, args: [], ...rest }, () => {});
}

describe("where nobody listens, a line on stderr tells", () => {
  test("of a task that gave up, not of its retries", async () => {
    const tasks = new TaskManager();
    const task = tasks.task({ name: "send", retries: 1 }, () => Promise.reject(new RangeError("down")));
    await tasks.addTask(task, [], { taskId: "order-7" });
    await tasks.idle();
    expect(lines()).toEqual(['otel-taskflow: task "send" gave up after 2 attempts (id order-7): RangeError: down']);
  });

  test("of a task whose name nobody here knows", async () => {
    const { host } = managerWithHost();
    await arriveUnknown(host, "chargee");
    await arriveUnknown(host, "chargee");
    expect(lines()).toEqual([expect.stringMatching(/^otel-taskflow: .*no task named "chargee" is registered/)]);
  });

  test("of a store that is lost, once, and that it is back", () => {
    const { host } = managerWithHost();
    host.storeBack();
    host.storeLost(new Error("connect ECONNREFUSED"));
    host.storeLost(new Error("connect ECONNREFUSED"));
    host.storeBack();
    host.storeBack();
    expect(lines()).toEqual([
      "otel-taskflow: the store cannot be reached: Error: connect ECONNREFUSED",
      "otel-taskflow: the store can be reached again",
    ]);
  });

  test("of a tag that was cut", async () => {
    const diag = collectDiag();
    const tasks = new TaskManager();
    await tasks.addTask(
      tasks.task("send", () => {}),
      [],
      { tags: { plan: "x".repeat(2_000) } },
    );
    await tasks.idle();
    expect(lines()).toEqual(['otel-taskflow: a task\'s tag "plan" is too long and was cut (task "send")']);
    expect(diag).toHaveLength(1);
  });
});

describe("the line", () => {
  test("is one line of bounded length, whatever the error says", async () => {
    const tasks = new TaskManager();
    await giveUp(tasks, 1, "send", new Error(`a\nb\u001b[2J\u2028c\0d\ud800 ${"x".repeat(9_000)}`));
    const line = String(lines()[0]);
    expect(line).toContain("Error: a b [2J c\ufffdd\ufffd xxx");
    expect(line.length).toBeLessThan(400);
    expect(line).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
  });

  test.each([undefined, null, new Proxy(new Error("x"), { get: () => Promise.reject })])(
    "comes for a thrown %#",
    async (error) => {
      const tasks = new TaskManager();
      await giveUp(tasks, 1, "send", error);
      expect(lines()).toEqual([expect.stringContaining('task "send" gave up')]);
    },
  );

  test.each([
    ["the name and the message of an error", new RangeError("down"), "RangeError: down"],
    ["the text alone of what is no error", "down", "down"],
  ])("says %s", async (_, thrown, text) => {
    await giveUp(new TaskManager(), 1, "send", thrown);
    expect(lines()).toEqual([expect.stringMatching(new RegExp(`\\(id [0-9a-f-]{36}\\): ${text}$`))]);
  });

  test("comes once a minute for each task, with the count of those left out", async () => {
    const tasks = new TaskManager();
    await giveUp(tasks, 5, "send");
    await giveUp(tasks, 1, "bill");
    expect(lines()).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(MINUTE_MS - 1);
    expect(lines()).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(lines().slice(2)).toEqual([expect.stringMatching(/"send" gave up .*RangeError: down \(3 more like this/)]);
    await vi.advanceTimersByTimeAsync(MINUTE_MS);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("of the first thousand tasks is each task's own, and the others share those of a kind", async () => {
    const { host } = managerWithHost();
    for (let n = 0; n < 1_000; n += 1) await arriveUnknown(host, `task ${n}`);
    expect(lines().length).toBe(1_000);
    for (const name of ["one", "more", "task 7"]) await arriveUnknown(host, name);
    expect(lines().slice(1_000)).toEqual([expect.stringContaining('"one"')]);
  });

  test("that was left out is counted when the manager shuts down", async () => {
    const tasks = new TaskManager();
    await giveUp(tasks, 3);
    await tasks.shutdown();
    expect(lines()).toEqual([expect.stringMatching(/down$/), expect.stringMatching(/\(1 more like this/)]);
  });
});

describe("someone who listens", () => {
  test("by onFailure silences the line of a task that gave up, and no other", async () => {
    const { tasks, host } = managerWithHost({ onFailure: () => {} });
    await giveUp(tasks);
    host.storeLost(new Error("gone"));
    expect(lines()).toEqual([expect.stringContaining("the store cannot be reached")]);
  });

  test("by onNotice hears every notice instead", async () => {
    const heard: TaskNotice[] = [];
    const { tasks, host } = managerWithHost({ onNotice: (notice) => void heard.push(notice), onFailure: () => {} });
    const error = new RangeError("down");
    await giveUp(tasks, 2, "send", error);
    await tasks.addTask(
      tasks.task("tagged", () => {}),
      [],
      { tags: { plan: "x".repeat(2_000) } },
    );
    await arriveUnknown(host, "chargee");
    host.storeLost(error);
    host.storeBack();
    expect(heard.map(({ kind, error: told }) => [kind, told])).toEqual([
      ...[
        ["gave-up", error],
        ["gave-up", error],
        ["tag", undefined],
        ["unknown-task", undefined],
      ],
      ...[
        ["store", error],
        ["store", undefined],
      ],
    ]);
    expect(heard[0]?.context).toMatchObject({ funcName: "send", attempt: 0 });
    expect(lines()).toEqual([]);
  });

  test("by onNotice: false hears nothing, and diag all the same", async () => {
    const diag = collectDiag();
    const { tasks, host } = managerWithHost({ onNotice: false });
    await giveUp(tasks);
    host.storeLost(new Error("gone"));
    await arriveUnknown(host, "chargee");
    expect(lines()).toEqual([]);
    expect(diag).toEqual([expect.stringContaining("cannot be reached"), expect.stringContaining("chargee")]);
  });

  test.each([
    () => {
      throw new Error("the listener is broken");
    },
    () => Promise.reject(new Error("the listener is broken")),
  ])("and throws or rejects is told to diag, and changes nothing: %#", async (onNotice) => {
    const diag = collectDiag();
    const { tasks } = managerWithHost({ onNotice });
    await giveUp(tasks);
    expect(await tasks.shutdown()).toEqual({ completed: 0, abandoned: [] });
    expect(diag).toEqual([expect.stringMatching(/onNotice.*the listener is broken/)]);
  });
});

test("onNotice has to be a function or false", () => {
  const options = { onNotice: true } as object;
  expect(() => new TaskManager(options)).toThrow(/onNotice: expected a function, received true/);
});

test("a line is on stderr, and keeps no process alive", async () => {
  vi.useRealTimers();
  const script = `
    import { TaskManager } from "./src/index.ts";
    const tasks = new TaskManager();
    await tasks.addTask(tasks.task("send", () => { throw new Error("nobody hears me"); }));
    await tasks.idle();`;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const { stderr } = await promisify(execFile)(process.execPath, args, { timeout: 150_000 });
  expect(stderr).toMatch(/^otel-taskflow: task "send" gave up after 1 attempt \(id \S+\): Error: nobody hears me\n$/);
});
