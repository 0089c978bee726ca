import { propagation } from "@opentelemetry/api";
import { getTaskContext, TaskManager } from "otel-taskflow";
import { addJob, withTask } from "otel-taskflow/bullmq";
import { addJob as addGraphileJob, withTask as withGraphileTask } from "otel-taskflow/graphile-worker";
import { expect, onTestFinished, test, vi } from "vitest";
import { describeVersions } from "../engines/bullmq/lab.js";
import { openWorker } from "../engines/graphile-worker/worker.js";
import { claimingBody } from "../support/claiming-body.js";
import { postgresUrl } from "../support/servers.js";
import { startTelemetry } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";

interface Seen {
  readonly taskId: string | undefined;
  readonly name: string | undefined;
  readonly attempt: number | undefined;
  readonly tags: object;
  readonly baggage: readonly string[];
  readonly data: unknown;
}

function look(data: unknown): Seen {
  const { taskId, funcName, attempt, tags } = getTaskContext() ?? {};
  const baggage = propagation.getActiveBaggage()?.getAllEntries() ?? [];
  return { taskId, name: funcName, attempt, tags: { ...tags }, baggage: baggage.map(([key]) => key), data };
}

const nothingOfIt = { attempt: 0, baggage: [], data: claimingBody, tags: {} };

test("a body that is an argument of a task in memory claims nothing", async () => {
  startTelemetry();
  const tasks = new TaskManager();
  onTestFinished(async () => void (await tasks.shutdown()));
  const seen: Seen[] = [];
  const take = tasks.task("take", (body: unknown) => void seen.push(look(body)));
  const taskId = await tasks.addTask(take, [claimingBody]);
  await tasks.idle();
  expect(seen).toEqual([{ ...nothingOfIt, taskId, name: "take" }]);
});

await describeVersions("a body that is a job's data", (open) => {
  test.each(["addJob", "queue.add"])("added by %s claims nothing, and arrives as it was", async (door) => {
    startTelemetry();
    const { queue, work, reaches } = open();
    const seen: Seen[] = [];
    work(withTask(async (job) => void seen.push(look(job.data))));
    const job = await (door === "addJob" ? addJob(queue, "take", claimingBody) : queue.add("take", claimingBody));
    await reaches("completed", job.id);
    expect(seen).toEqual([{ ...nothingOfIt, taskId: job.id, name: "take" }]);
  });
});

const { url: server = "", unavailable } = await postgresUrl();
if (unavailable !== undefined) describeUnavailable("a body that is a graphile-worker payload", unavailable);
else
  test("a body that is a graphile-worker payload claims nothing, and arrives as it was", async () => {
    startTelemetry();
    const { utils, run } = await openWorker("0.18", server);
    const seen: Seen[] = [];
    await run({ take: withGraphileTask((payload) => void seen.push(look(payload))) });
    const ours = await addGraphileJob(utils, "take", claimingBody);
    await vi.waitFor(() => expect(seen).toHaveLength(1), 10_000);
    const plain = await utils.addJob("take", claimingBody);
    await vi.waitFor(() => expect(seen).toHaveLength(2), 10_000);
    expect(seen).toEqual([ours, plain].map(({ id }) => ({ ...nothingOfIt, taskId: id, name: "take" })));
  });
