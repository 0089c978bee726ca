import { describe, expect, test } from "vitest";
import { type Case, durable } from "../../src/testing/engine-contract/case.js";
import type { Rig } from "../../src/testing/engine-contract/rig.js";
import { runCase } from "../../src/testing/engine-contract/run-case.js";
import type { EngineWorld as ContractWorld } from "../../src/testing/engine-contract/world.js";
import type { Sighting } from "./process/protocol.js";
import { lookAround } from "./process/session.js";
import { type EngineProcess, startProcess } from "./process/start.js";
import type { EngineStore, EngineWorld } from "./world.js";

const CASE_MS = 150_000;
// starting them takes all that a small machine has
const ONE_AT_A_TIME = { concurrent: false };
const CLEANLY = { exitCode: 0, stderr: expect.any(String) };

/** The contract's cases that start other processes on a store. */
export function describeProcesses(world: ContractWorld & Partial<Pick<EngineWorld, "singleProcess">>): void {
  describe("processes", ONE_AT_A_TIME, () => {
    const reachable = world.durable && world.singleProcess === undefined;
    for (const one of CASES) test.skipIf(!reachable)(one.name, () => runCase(one, world, { ms: CASE_MS }));
  });
}

const CASES: readonly Case[] = [
  durable("a task from another process brings its tags, trace and baggage", async (rig) => {
    const producer = start(rig, "producer");
    const { id } = await producer.first("enqueued");
    expect(await producer.ended()).toEqual(CLEANLY);
    expect(await runRemote(rig)).toEqual([sightingOf(id, { tenant: "t1", "task.tag.plan": "pro" })]);
    const [enqueued, attempt] = [producer.span("enqueue remote"), rig.span("process remote")];
    expect(attempt.spanContext().traceId).toBe(producer.span("request").traceId);
    expect(attempt.parentSpanContext).toMatchObject({ traceId: enqueued.traceId, spanId: enqueued.spanId });
  }),

  durable("a task runs in another process with its tags, trace and baggage", async (rig) => {
    const tasks = rig.manager();
    const id = await addRemote(rig);
    const worker = start(rig, "worker");
    expect(await worker.ended()).toEqual(CLEANLY);
    const { sighting } = await worker.first("ran");
    expect(sighting).toEqual(sightingOf(id, { "task.tag.plan": "pro" }));
    const enqueued = rig.span("enqueue remote").spanContext();
    const attempt = worker.span("process remote");
    expect([attempt.traceId, attempt.parentSpanId]).toEqual([enqueued.traceId, enqueued.spanId]);
    await tasks.idle();
  }),

  durable("a task of a process without an SDK has its context and tags", async (rig) => {
    const producer = start(rig, "producer", { telemetry: false });
    const { id } = await producer.first("enqueued");
    expect(await producer.ended()).toEqual(CLEANLY);
    expect(await runRemote(rig)).toEqual([sightingOf(id, { "task.tag.plan": "pro" })]);
    expect(rig.span("process remote").parentSpanContext).toBeUndefined();
  }),

  durable("a task in a process without an SDK has its context and tags", async (rig) => {
    const id = await addRemote(rig);
    const worker = start(rig, "worker", { telemetry: false });
    expect(await worker.ended()).toEqual(CLEANLY);
    expect((await worker.first("ran")).sighting).toEqual(sightingOf(id, {}));
  }),
];

function start(rig: Rig, script: "producer" | "worker", options: { telemetry?: boolean } = {}): EngineProcess {
  // only worlds are asked whose stores other processes can reach
  const process = startProcess(script, rig.world as EngineWorld, rig.store as EngineStore, options);
  rig.onClose(() => process.kill());
  return process;
}

/** Enqueues what the other process's producer would. */
async function addRemote(rig: Rig): Promise<string> {
  const tasks = rig.manager();
  const remote = tasks.task({ name: "remote", retries: 1 }, (_greeting: string) => {});
  return await tasks.addTask(remote, ["hello"], { tags: { plan: "pro" } });
}

/** Runs what the other process enqueued. */
async function runRemote(rig: Rig): Promise<Sighting[]> {
  const tasks = rig.manager();
  const seen: Sighting[] = [];
  tasks.task({ name: "remote", retries: 1 }, (...args: unknown[]) => void seen.push(lookAround(args)));
  await rig.finish(tasks);
  return seen;
}

function sightingOf(taskId: string, baggage: Record<string, string>): Sighting {
  return { taskId, funcName: "remote", attempt: 0, maxAttempts: 2, tags: { plan: "pro" }, args: ["hello"], baggage };
}
