import { isTaskConfigError } from "otel-taskflow";
import { addJob, addJobs } from "otel-taskflow/bullmq";
import { expect, test } from "vitest";
import { startMetrics, type TestMetrics } from "../../support/metrics.js";
import { describeVersions } from "./lab.js";
import { describeRoads } from "./roads.js";

async function enqueued(metrics: TestMetrics): Promise<number> {
  const points = (await metrics.collect()).get("task.enqueued")?.dataPoints ?? [];
  return points.reduce((sum, { value }) => sum + Number(value), 0);
}

await describeRoads(
  "a job that the queue has already",
  (open, _bullmq, { addJob, addJobs, addElsewhere, withTask }) => {
    test("is counted once, by its id", async () => {
      const [metrics, lab] = [startMetrics(), open()];
      const jobs = [1, 2, 3].map((data) => addJob(lab.queue, "job", data, { jobId: "same" }));
      expect((await Promise.all(jobs)).map(({ id }) => id)).toEqual(["same", "same", "same"]);
      expect([await enqueued(metrics), await lab.queue.getJobCountByTypes("waiting")]).toEqual([1, 1]);
    });

    test("is counted once, by its deduplication, be it added in bulk", async () => {
      const [metrics, lab] = [startMetrics(), open()];
      const opts = { deduplication: { id: "key" } };
      await addJob(lab.queue, "job", 1, opts);
      await addJobs(lab.queue, [
        { name: "job", data: 2, opts },
        { name: "job", data: 3 },
        { name: "job", data: 4, opts: { deduplication: { id: "other" } } },
      ]);
      expect([await enqueued(metrics), await lab.queue.getJobCountByTypes("waiting")]).toEqual([3, 3]);
    });

    test("is counted where another producer added it, or it was gone when this was asked", async () => {
      const [metrics, lab] = [startMetrics(), open()];
      await addElsewhere(lab.queue, "job", 1, { jobId: "theirs" });
      await addJob(lab.queue, "job", 2, { jobId: "theirs" });
      expect(await enqueued(metrics)).toBe(0);
      const gone = new Proxy(lab.queue, {
        get: (queue, key) => (key === "getJob" ? async () => undefined : Reflect.get(queue, key, queue)),
      });
      await addJob(gone, "job", 3, { jobId: "ours" });
      expect(await enqueued(metrics)).toBe(1);
    });

    test("is counted as often as it was added anew, however soon it is done and removed", async () => {
      const [metrics, lab] = [startMetrics(), open()];
      let runs = 0;
      const run = async (): Promise<void> => {
        runs += 1;
      };
      lab.work(withTask(run));
      for (let round = 0; round < 10; round += 1) {
        const adds = [1, 2, 3].map((data) => addJob(lab.queue, "job", data, { jobId: "id-1", removeOnComplete: true }));
        await Promise.all(adds);
      }
      await expect.poll(() => lab.queue.getJobCountByTypes("waiting", "active"), { timeout: 10_000 }).toBe(0);
      expect(await enqueued(metrics)).toBe(runs);
    });
  },
);

await describeRoads("jobs that are not waited for", (open, _bullmq, { addJob, addJobs }) => {
  test("are stored in the order of the calls, in bulk or not", async () => {
    const lab = open();
    await lab.queue.waitUntilReady();
    const bulk = ["b", "c"].map((name) => ({ name, data: {} }));
    await Promise.all([
      addJob(lab.queue, "a", {}),
      addJobs(lab.queue, bulk),
      addJob(lab.queue, "d", {}, { jobId: "id-1" }),
      addJob(lab.queue, "e", {}),
    ]);
    const waiting = await lab.queue.getWaiting();
    expect(waiting.map(({ name }) => name).toSorted()).toEqual(["a", "b", "c", "d", "e"]);
    const inOrder = (await lab.queue.getJobs(["waiting"], 0, -1, true)).map(({ name }) => name);
    expect(inOrder.join("")).toBe("abcde");
  });
});

test("a job is there for the caller as early as bare BullMQ's is", async () => {
  const added = Promise.resolve({ id: "1" });
  const queue = { name: "jobs", add: (_name: string, _data: object) => added, addBulk: async () => [] };
  const ticks = async (add: () => Promise<unknown>): Promise<number> => {
    let [count, done] = [0, false];
    add().then(() => {
      done = true;
    });
    while (!done) {
      count += 1;
      await Promise.resolve();
    }
    return count;
  };
  expect(await ticks(() => addJob(queue, "job", {}))).toBe(await ticks(() => queue.add("job", {})));
});

await describeVersions("an id that is a key of BullMQ's", (open) => {
  test.each(["active", "wait", "meta", "marker"])("is refused before the queue is broken: %s", async (jobId) => {
    const lab = open();
    await expect(addJob(lab.queue, "job", {}, { jobId })).rejects.toSatisfy(isTaskConfigError);
    const bulk = [{ name: "job", data: {}, opts: { jobId } }];
    await expect(addJobs(lab.queue, bulk)).rejects.toSatisfy(isTaskConfigError);
  });
});
