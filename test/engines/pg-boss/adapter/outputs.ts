import { expect, vi } from "vitest";
import { collectDiag } from "../../../support/telemetry.js";
import type { Rig, Section } from "../rig.js";

const PATIENT = { timeout: 15_000, interval: 50 };

/** What a job keeps of what its handler returned or threw: what `workTask` tells pg-boss, which tells itself otherwise. */
export const outputCases: Section = (_test, byHand) => {
  byHand("a failed job keeps all that pg-boss alone would keep of it", async ({ rig }) => {
    const native = await nativeOutputs(rig);
    const ids: (string | null)[] = [];
    for (const n of THROWN.keys()) ids.push(await rig.send({ n }));
    await rig.work(({ data }) => Promise.reject(THROWN[(data as { n: number }).n]), { batchSize: THROWN.length });
    const jobs = await Promise.all(ids.map((id) => rig.job(id, "failed")));
    for (const [n, { output }] of jobs.entries()) {
      expect(output).toMatchObject({ message: expect.any(String), ...native[n] });
    }
  });

  byHand(
    "texts that PostgreSQL refuses are kept with U+FFFD, and concern no other job of the batch",
    async ({ rig }) => {
      const error = Object.assign(new Error("a\0b \ud83d"), { "k\0": ["\udc00"] }, { cause: new Error("in\0ner") });
      const ends = [() => "fine", () => Promise.reject(error), () => ({ text: "x\0y\ud800", list: ["\0"] })];
      const [fine, failed, mended] = await runBatch(rig, ends);
      expect(fine).toMatchObject({ state: "completed", output: { value: "fine" } });
      const output = { message: "a\ufffdb \ufffd", "k\ufffd": ["\ufffd"], cause: { message: "in\ufffdner" } };
      expect(failed).toMatchObject({ state: "failed", output });
      expect(mended).toMatchObject({ state: "completed", output: { text: "x\ufffdy\ufffd", list: ["\ufffd"] } });
    },
  );

  byHand(
    "a result that cannot be stored is left out and told; its job is done, and so are the others",
    async ({ rig }) => {
      const diag = collectDiag();
      const ends = [
        () => ({ ok: 1 }),
        () => deep(20_000),
        () => huge(),
        () => ({ toJSON: thrower }),
        () => ({ ok: 2 }),
      ];
      const jobs = await runBatch(rig, ends);
      expect(jobs.map(({ state }) => state)).toEqual(ends.map(() => "completed"));
      expect(jobs.map(({ output }) => output)).toEqual([{ ok: 1 }, null, null, null, { ok: 2 }]);
      const leftOut = jobs
        .slice(1, 4)
        .map(({ id }) => `what job ${id} of queue ${rig.queue} returned cannot be stored`);
      expect(leftOut.map((told) => diag.filter((line) => line.includes(told)).length)).toEqual([1, 1, 1]);
      const spans = await rig.attempts(ends.length);
      expect(spans.map(({ attributes }) => attributes["task.outcome"])).toEqual(ends.map(() => "success"));
    },
  );

  byHand("a result is what pg-boss alone would keep", async ({ rig }) => {
    const circular: Record<string, unknown> = { n: 10n, fn: () => {}, bytes: Buffer.from("a"), at: new Date(0) };
    circular.self = circular;
    const results = [circular, [1, [() => {}, undefined]], 5n, new Map([[1, 2]]), Symbol("s")];
    const jobs = await runBatch(
      rig,
      results.map((result) => () => result),
    );
    const native = await nativeOutputs(rig, "complete", results);
    expect(jobs.map(({ output }) => output ?? {})).toEqual(native.map((output) => output ?? {}));
  });
};

class Coded extends Error {
  override name = "Coded";
  code = "E_X";
  when = new Date(0);
}

const THROWN: readonly unknown[] = [
  new Error("plain"),
  new Coded("own fields"),
  new Error("outer", { cause: new Coded("inner", { cause: new Error("innermost") }) }),
  new AggregateError([new Error("a"), new Coded("b")], "many"),
  { message: "said", code: 7 },
  { name: "MyFailure", message: "said" },
  withItself({ message: "said" }),
  withItself(new Error("circular")),
  Object.assign(new Error("big"), { n: 10n, code: "E_BIG" }),
  Object.assign(new Error("m"), { toJSON: () => ({ short: true }) }),
  new Error("x".repeat(20_000)),
  Object.assign(new Error("wide"), { shared: [{ status: 500 }, { status: 501 }], body: Buffer.from("x"), nil: null }),
  ...["text", undefined, null, 5, [1, 2]],
];

/** What pg-boss makes of the same values where it is told itself. */
async function nativeOutputs(
  { boss, queue }: Rig,
  how: "fail" | "complete" = "fail",
  values: readonly unknown[] = THROWN,
): Promise<(object | null)[]> {
  const beside = `${queue}-native`;
  await boss.createQueue(beside, { retryLimit: 0 });
  const outputs: (object | null)[] = [];
  for (const value of values) {
    const id = await boss.send(beside, {});
    await boss.fetch(beside);
    await boss[how](beside, String(id), value as object);
    const [job] = await boss.findJobs(beside, { id: String(id) });
    outputs.push(job?.output ?? null);
  }
  await boss.deleteQueue(beside);
  return outputs;
}

/** Runs one job for each end, all in one batch; resolves to the jobs as they are stored then. */
async function runBatch(rig: Rig, ends: readonly (() => unknown)[]) {
  const ids: (string | null)[] = [];
  for (const n of ends.keys()) ids.push(await rig.send({ n }));
  await rig.work(({ data }) => ends[(data as { n: number }).n]?.(), { batchSize: ends.length });
  return await Promise.all(ids.map((id) => settled(rig, id)));
}

async function settled({ boss, queue }: Rig, id: string | null) {
  return await vi.waitFor(async () => {
    const [job] = await boss.findJobs(queue, { id: String(id) });
    expect(job?.completedOn).toBeInstanceOf(Date);
    return { id, state: job?.state, output: job?.output };
  }, PATIENT);
}

function withItself(value: object): object {
  return Object.assign(value, { self: value });
}

function deep(levels: number): unknown {
  let value: unknown = "end";
  for (let level = 0; level < levels; level += 1) value = { value };
  return value;
}

function huge(): unknown {
  return Array.from({ length: 9 }, () => "x".repeat(1_000_000));
}

function thrower(): never {
  throw new Error("no JSON");
}
