import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { DiagLogLevel } from "@opentelemetry/api";
import { isTaskStoreError, type TaskManagerOptions } from "otel-taskflow";
import { bullmqEngine } from "otel-taskflow/bullmq";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type OwnServer, postgresMissing, redisMissing, startPostgres, startRedis } from "../../support/servers.js";
import { createTasks } from "../../support/tasks.js";
import { collectDiag } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { FAST, type Kind, migrate, optionsOf } from "./worlds.js";

const PROCESS = fileURLToPath(new URL("./outage-process.ts", import.meta.url));
// by itself, BullMQ tries again after 15 seconds
const QUICK = { ...FAST, runRetryDelay: 500 };

describeOutages("5", redisMissing(), startRedis);
describeOutages("6", redisMissing(), startRedis);
describeOutages("6 on PostgreSQL", postgresMissing(), startPostgres);

function describeOutages(kind: Kind, missing: string | undefined, start: () => Promise<OwnServer>): void {
  if (missing !== undefined) describeUnavailable(`outages, bullmq ${kind}`, missing);
  else describe(`outages, bullmq ${kind}`, () => cases(kind, start));
}

function cases(kind: Kind, start: () => Promise<OwnServer>): void {
  test("every task ends, though the server is restarted while 500 are on their way", async () => {
    const { unhandled, manager, server } = await open();
    collectDiag();
    const done = new Set<string>();
    const failures: unknown[] = [];
    const tasks = manager({
      onSuccess: ({ context }) => void done.add(context.taskId),
      onFailure: ({ error }) => void failures.push(error),
    });
    const task = tasks.task("task", () => new Promise((resolve) => setTimeout(resolve, 10)));
    const ids = await Promise.all(Array.from({ length: 500 }, () => tasks.addTask(task)));
    await tasks.work();
    await vi.waitUntil(() => done.size > 50, 10_000);
    await server.restart();
    await tasks.idle();
    expect([ids.filter((id) => !done.has(id)), failures, unhandled.mock.calls]).toEqual([[], [], []]);
  });

  test("shutdown ends while the server is gone, and rejects what it never took", async () => {
    const { unhandled, manager, server } = await open();
    collectDiag();
    const tasks = manager({});
    const started = vi.fn();
    const task = tasks.task("task", () => {
      started();
      return new Promise(() => {});
    });
    const id = await tasks.addTask(task);
    await tasks.work();
    await vi.waitUntil(() => started.mock.calls.length === 1, 10_000);
    await server.kill();
    const adding = expect(tasks.addTask(task)).rejects.toSatisfy(isTaskStoreError);
    const before = performance.now();
    const { abandoned } = await tasks.shutdown({ timeout: 200 });
    expect(performance.now() - before).toBeLessThan(20_000);
    await adding;
    expect(abandoned).toEqual([{ taskId: id, funcName: "task", state: "active" }]);
    expect(unhandled.mock.calls).toEqual([]);
  });

  test("a process that was shut down while the server is gone exits", async () => {
    const { url, server } = await open();
    const location = JSON.stringify({ kind, url, queue: "tasks" });
    const child = spawn(process.execPath, ["--import", "tsx", PROCESS, location], { stdio: ["pipe", "pipe", "pipe"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    let printed = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      printed += chunk;
    });
    await vi.waitUntil(() => printed === "running\n", 60_000);
    await server.kill();
    child.stdin.end();
    const [exitCode] = await once(child, "exit");
    expect([exitCode, printed]).toEqual([0, "running\nshut down\n"]);
  });

  test("an engine that was made while the server was gone works when it is there, and tells both once", async () => {
    const { manager, server } = await open();
    collectDiag();
    await server.kill();
    const notices: string[] = [];
    const tasks = manager({ onNotice: ({ kind, message }) => void (kind === "store" && notices.push(message)) });
    const run = vi.fn();
    const task = tasks.task("task", run);
    const early = tasks.addTask(task).catch((error: unknown) => error);
    await vi.waitFor(() => expect(notices).toEqual(["the store cannot be reached"]), 10_000);
    await server.restart();
    await vi.waitFor(() => tasks.addTask(task), 10_000);
    await early;
    await vi.waitFor(() => tasks.work(), 10_000);
    await tasks.idle();
    expect(run).toHaveBeenCalled();
    const both = ["the store cannot be reached", "the store can be reached again"];
    await vi.waitFor(() => expect(notices).toEqual(both), 10_000);
  });

  test("an outage and its end are told though nobody asks the server for anything", async () => {
    const { manager, server } = await open();
    collectDiag();
    const notices: string[] = [];
    const tasks = manager({ onNotice: ({ kind, message }) => void (kind === "store" && notices.push(message)) });
    await tasks.work();
    await server.kill();
    await vi.waitFor(() => expect(notices).toEqual(["the store cannot be reached"]), 10_000);
    await server.restart();
    await vi.waitFor(() => expect(notices.at(-1)).toBe("the store can be reached again"), 20_000);
  });

  test("a task that is added while the server is gone is refused within seconds, and is never stored", async () => {
    const { unhandled, manager, server } = await open();
    collectDiag();
    const tasks = manager({});
    const run = vi.fn();
    const task = tasks.task("task", run);
    await tasks.addTask(task, ["before"]);
    await server.kill();
    await wait(500); // for the connections to hear of it
    const errors = await Promise.all(["one", "two"].map((arg) => tasks.addTask(task, [arg]).catch((error) => error)));
    expect(errors).toEqual([0, 1].map(() => expect.toSatisfy((error) => isTaskStoreError(error) && !error.stored)));
    expect(errors.map(({ stored }) => stored)).toEqual([false, false]);
    await server.restart();
    await vi.waitFor(() => tasks.addTask(task, ["after"]), 20_000);
    await tasks.work();
    await tasks.idle();
    expect([run.mock.calls.flat().toSorted(), unhandled.mock.calls]).toEqual([["after", "before"], []]);
  });

  test("nobody asks whether the server is back once the engine is closed", async () => {
    const { manager, server } = await open();
    const diag = collectDiag(DiagLogLevel.DEBUG);
    const asked = (): number => diag.filter((line) => line.includes("BullMQ's server still does not answer")).length;
    const tasks = manager({ onNotice: false });
    await tasks.work();
    await server.kill();
    await vi.waitUntil(() => asked() > 0, 20_000);
    await tasks.shutdown({ timeout: 0 });
    await wait(1_500); // for an answer that was waited for
    const before = asked();
    await wait(2_500);
    expect(asked()).toBe(before);
  });

  async function open(): Promise<{
    url: string;
    server: OwnServer;
    unhandled: ReturnType<typeof vi.fn>;
    manager: (options: TaskManagerOptions) => ReturnType<typeof createTasks>;
  }> {
    const server = await start();
    onTestFinished(() => server.stop());
    const url = kind === "6 on PostgreSQL" ? `${server.url}?schema=bullmq` : server.url;
    if (kind === "6 on PostgreSQL") await migrate(url);
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    onTestFinished(() => void process.off("unhandledRejection", unhandled));
    const engine = () => bullmqEngine({ ...optionsOf(kind, url), concurrency: 50, workerOptions: QUICK });
    return { url, server, unhandled, manager: (options) => createTasks({ engine: engine(), ...options }) };
  }
}
