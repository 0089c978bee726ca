import { getTaskContext } from "otel-taskflow";
import { expect, test, vi } from "vitest";
import { startMetrics } from "../../support/metrics.js";
import { collectDiag, startTelemetry } from "../../support/telemetry.js";
import { describeRoads } from "./roads.js";

const MANY = 300;

await describeRoads("jobs that are named after orders", (open, _bullmq, { addJobs, withTask }) => {
  test("have 200 names of spans and metrics at most, which is told once, and keep their own in the task", async () => {
    const telemetry = startTelemetry();
    const metrics = startMetrics();
    const told = collectDiag();
    const lab = open();
    const names: unknown[] = [];
    lab.work(
      withTask(async () => void names.push(getTaskContext()?.funcName)),
      { concurrency: 50 },
    );
    const jobs = Array.from({ length: MANY }, (_, index) => ({ name: `order-${index}`, data: {} }));
    await addJobs(lab.queue, jobs);
    await vi.waitFor(() => expect(telemetry.spans().filter(isAttempt)).toHaveLength(MANY), 10_000);
    const attempts = telemetry.spans().filter(isAttempt);
    const shown = new Set(attempts.map(({ name }) => name));
    expect([shown.size, shown.has(`process ${lab.queue.name}`)]).toEqual([200, true]);
    expect([new Set(names).size, new Set(attempts.map(taskName)).size]).toEqual([MANY, MANY]);
    const series = (await metrics.collect()).get("task.finished")?.dataPoints.map(taskName);
    expect([series?.length, series?.includes(lab.queue.name)]).toEqual([200, true]);
    expect(told.filter((line) => line.includes("names"))).toHaveLength(1);
  });
});

const isAttempt = ({ name }: { name: string }): boolean => name.startsWith("process ");
const taskName = ({ attributes }: { attributes: Record<string, unknown> }): unknown => attributes["task.name"];
