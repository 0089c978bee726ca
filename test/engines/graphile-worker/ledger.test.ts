import type { JobHelpers } from "graphile-worker";
import { NonRetryableError } from "otel-taskflow";
import { addJob, withTask } from "otel-taskflow/graphile-worker";
import { describe, expect, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { postgresUrl } from "../../support/servers.js";
import { type Deferred, deferred } from "../../support/tasks.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeUnavailable } from "../../support/unavailable.js";
import { queryOnce } from "./database.js";
import { VERSIONS, type Version } from "./versions.js";
import { openWorker, type TestWorker } from "./worker.js";

const SEED = 20_261_127;
const ROUNDS = 4;
const MODES = ["replace", "preserve_run_at", "unsafe_dedupe"] as const;
const KINDS = ["succeeds", "fails", "gives up"] as const;

const { url: server = "", unavailable } = await postgresUrl();

if (unavailable !== undefined) describeUnavailable("graphile-worker's ledger", unavailable);
else for (const version of VERSIONS) describe(`with graphile-worker ${version}`, () => ledgerCases(version));

function ledgerCases(version: Version): void {
  test(`under a random load, what was enqueued has finished or is stored (seed ${SEED})`, async () => {
    collectDiag();
    startTelemetry();
    const metrics = startMetrics();
    const worker = await openWorker(version, server);
    const pick = picker(SEED);
    let gate: Deferred<void> = deferred();
    let waiting: string[] = [];
    const act = async (payload: unknown, { job }: JobHelpers): Promise<void> => {
      const { kind } = payload as { kind: (typeof KINDS)[number] };
      waiting.push(job.id);
      await gate.promise;
      if (kind === "fails") throw new Error("no");
      if (kind === "gives up") throw new NonRetryableError("never");
    };
    await worker.run({ act: withTask(act) }, { concurrency: 24, maxPoolSize: 6 });
    const add = async (): Promise<unknown> => {
      const spec = { maxAttempts: 1 + pick(2), jobKeyMode: MODES[pick(3)] ?? "replace" };
      const key = pick(4) === 0 ? {} : { jobKey: `key-${pick(6)}` };
      const late = pick(4) === 0 ? { runAt: new Date(4e12) } : {};
      return await addJob(worker.utils, "act", { kind: KINDS[pick(3)] }, { ...spec, ...key, ...late });
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      // twice, so that some replace what is running
      for (const _ of [1, 2]) {
        for (let n = 0; n < 8; n += 1) await add();
        await until(worker, "locked_at is null and attempts < max_attempts and run_at <= now()");
      }
      // a retry that starts from here on waits for the next round, so that no job is replaced while it ends
      const [opened, ids] = [gate, waiting.join()];
      [gate, waiting] = [deferred(), []];
      const now = await clock(worker);
      opened.resolve();
      await until(worker, `id = any('{${ids}}') and locked_at <= '${now}'`);
    }
    gate.resolve();
    await vi.waitFor(async () => {
      const all = await metrics.collect();
      const sum = (name: string): number =>
        (all.get(name)?.dataPoints ?? []).reduce((total, { value }) => total + Number(value), 0);
      const stored = await count(worker, "attempts < max_attempts");
      const [enqueued, finished] = [sum("task.enqueued"), sum("task.finished")];
      expect([enqueued > ROUNDS * 4, finished > ROUNDS, stored > 0]).toEqual([true, true, true]);
      expect(enqueued).toBe(finished + stored);
    }, 5_000);
  });

  test("a job that is replaced while it runs, or removed, gives up when it fails: it is not run again", async () => {
    const telemetry = startTelemetry();
    const { utils, run, ended } = await openWorker(version, server);
    const [started, gate] = [deferred(), deferred()];
    await run({
      sync: withTask(async () => {
        started.resolve();
        await gate.promise;
        throw new Error("no");
      }),
    });
    const { id } = await addJob(utils, "sync", {}, { jobKey: "user-7" });
    await started.promise;
    await addJob(utils, "sync", {}, { jobKey: "user-7", runAt: new Date(4e12) });
    gate.resolve();
    await ended(id);
    expect(telemetry.span("process sync").attributes).toMatchObject({ "task.id": id, "task.outcome": "failure" });
  });

  test.each(["attempts = -5", "run_at = '1900-01-01'", "run_at = '-infinity'"])(
    "a row with %s stops no job",
    async (edit) => {
      const telemetry = startTelemetry();
      const { utils, run, url } = await openWorker(version, server);
      const { id } = await addJob(utils, "sync", {});
      await queryOnce(url, `update graphile_worker._private_jobs set ${edit}`);
      await run({ sync: withTask(() => {}) });
      await vi.waitFor(() => expect(telemetry.named("process sync")).not.toEqual([]), 10_000);
      const { attributes } = telemetry.span("process sync");
      expect(attributes).toMatchObject({ "task.id": id, "task.attempt": 0, "task.outcome": "success" });
    },
  );
}

/** Numbers from 0 to below `n`, the same ones each time. */
function picker(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return Math.floor((state / 0x8000_0000) * n);
  };
}

async function count(worker: TestWorker, which: string): Promise<number> {
  const sql = `select count(*)::int from graphile_worker._private_jobs where ${which}`;
  const [row] = await queryOnce<{ count: number }>(worker.url, sql);
  return row?.count ?? 0;
}

/** The server's time, as text. */
async function clock(worker: TestWorker): Promise<string> {
  const [row] = await queryOnce<{ now: string }>(worker.url, "select now()::text as now");
  return row?.now ?? "infinity";
}

async function until(worker: TestWorker, none: string): Promise<void> {
  await vi.waitUntil(async () => (await count(worker, none)) === 0, { timeout: 10_000, interval: 25 });
}
