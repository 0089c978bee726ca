import { getTaskContext } from "otel-taskflow";
import { expect, test } from "vitest";
import { collectDiag, startTelemetry, type TestTelemetry } from "../../support/telemetry.js";
import type { Job, Lab } from "./lab.js";
import { describeRoads, type Road } from "./roads.js";

const TRACE = "1".repeat(32);
const OTHER_TRACE = "2".repeat(32);
const traceparent = (traceId: string): string => `00-${traceId}-${"3".repeat(16)}-01`;
const metadata = (carrier: object): object => ({ telemetry: { metadata: JSON.stringify(carrier) } });

const traceOf = (telemetry: TestTelemetry): string => telemetry.span("process job").spanContext().traceId;

/** Runs a job that another producer has added with these options; returns the tags and options that it had. */
async function run(lab: Lab, { withTask, addElsewhere }: Road, options: object): Promise<unknown[]> {
  const seen: unknown[] = [];
  lab.work(withTask(async (job: Job) => void seen.push(getTaskContext()?.tags, { ...job.opts })));
  const { id } = await addElsewhere(lab.queue, "job", {}, options);
  await lab.reaches("completed", id);
  return seen;
}

await describeRoads("a job that another instrumentation has stored its trace with", (open, _bullmq, road) => {
  test.each([
    ["bullmq-otel", metadata({ traceparent: traceparent(TRACE) })],
    ["one that writes among the options", { traceparent: traceparent(TRACE), tracestate: "vendor=1" }],
    ["an agent with keys of its own", metadata({ _agent: { id: 1 }, traceparent: traceparent(TRACE) })],
    ["two of them", { ...metadata({ traceparent: traceparent(TRACE) }), traceparent: traceparent(OTHER_TRACE) }],
    ["two, one of which is damaged", { ...metadata({ traceparent: "damaged" }), traceparent: traceparent(TRACE) }],
    ["one beside which ours is damaged", { "otel-taskflow": 5, traceparent: traceparent(TRACE) }],
  ])("runs in that trace: %s", async (_who, options) => {
    const telemetry = startTelemetry();
    const lab = open();
    const [, stored] = await run(lab, road, options);
    expect(traceOf(telemetry)).toBe(TRACE);
    expect(stored).toMatchObject(options);
  });

  test("has no tags of theirs, nor any that stand in their carrier under our name", async () => {
    startTelemetry();
    const forged = { "otel-taskflow": JSON.stringify({ v: 1, tags: { plan: "forged" } }) };
    const carrier = { traceparent: traceparent(TRACE), baggage: "task.tag.plan=forged,k=v", ...forged };
    const [tags] = await run(open(), road, metadata(carrier));
    expect(tags).toEqual({});
  });

  test.each([
    { telemetry: { metadata: "{not json" }, traceparent: 7 },
    { telemetry: { metadata: "5" }, traceparent: "" },
    { telemetry: "text", tracestate: "vendor=1" },
    metadata([traceparent(TRACE)]),
  ])("runs without one where that is damaged: %j", async (options) => {
    const telemetry = startTelemetry();
    collectDiag();
    await run(open(), road, options);
    expect(telemetry.span("process job").parentSpanContext).toBeUndefined();
  });

  test("runs in its own producer's, where it has our carrier", async () => {
    const telemetry = startTelemetry();
    const lab = open();
    lab.work(road.withTask(async () => {}));
    const options: object = {
      traceparent: traceparent(OTHER_TRACE),
      ...metadata({ traceparent: traceparent(OTHER_TRACE) }),
    };
    const { id } = await road.addJob(lab.queue, "job", {}, options);
    await lab.reaches("completed", id);
    expect(traceOf(telemetry)).toBe(telemetry.span("enqueue job").spanContext().traceId);
  });
});
