import type { TaskJob } from "otel-taskflow/pg-boss";
import { expect } from "vitest";
import type { RigTest } from "../rig.js";

/** What the handler is given. */
export function dataCases(test: RigTest): void {
  const shapes: readonly (readonly [what: string, data: unknown, arrives?: unknown])[] = [
    ["an object", { order: 7, lines: [{ sku: "ü 🙂", gone: undefined }], nested: { "otel-taskflow": 1 } }],
    ["an empty object", {}],
    ["an array", [1, "two", { three: 3 }]],
    ["a string", "text"],
    ["a number", 0],
    ["false", false],
    ["null", null],
    ["undefined", undefined, null],
    ["a Date", new Date(0), "1970-01-01T00:00:00.000Z"],
    ["an object with the reserved key", { "otel-taskflow": { carrier: { traceparent: "x" }, data: 1 }, order: 7 }],
  ];

  test.for(shapes)("%s arrives as pg-boss alone would hand it over", async ([, data, arrives = data], { rig }) => {
    const seen: unknown[] = [];
    await rig.work((job) => void seen.push(job.data));
    await rig.job(await rig.send(data), "completed");
    expect(seen).toEqual([arrives]);
  });

  test("the job is the native one: id, queue, metadata and a signal", async ({ rig }) => {
    const seen: TaskJob[] = [];
    const aborted: unknown[] = [];
    await rig.work((job) => {
      seen.push(job);
      aborted.push(job.signal.aborted);
    });
    const id = await rig.send({ n: 1 }, { priority: 5, retryLimit: 2, singletonKey: "k" });
    await rig.job(id, "completed");
    expect(seen).toMatchObject([{ id, name: rig.queue, retryCount: 0, retryLimit: 2, priority: 5, singletonKey: "k" }]);
    expect(aborted).toEqual([false]);
  });
}
