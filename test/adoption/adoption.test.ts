import { beforeAll, describe, expect, test } from "vitest";
import type { ReceivedSpan } from "../e2e/otlp-json.js";
import { outline, pointsOf } from "../e2e/queries.js";
import { postgresUrl, redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { expectedIn } from "./expected.js";
import { buildService, FORMATS, type Format, type Served, type Step, serveOrder } from "./service.js";

const TITLE = "a service that adds one line to its set-up of OpenTelemetry";
const [{ url: redis = "", ...noRedis }, { url: postgres = "", ...noPostgres }] = await Promise.all([
  redisUrl(),
  postgresUrl(),
]);
const unavailable = noRedis.unavailable ?? noPostgres.unavailable;

/** A level of pino's. */
const INFO = 30;
if (unavailable !== undefined) describeUnavailable(TITLE, unavailable);
else describe.each(Object.keys(FORMATS) as Format[])(`${TITLE} (%s)`, cases);

function cases(format: Format): void {
  const { ofRequest, ofSchedules, ofCron, ofNest, inBatches, putOff, counts, tree } = expectedIn(format);
  const all = [...ofRequest, ...ofSchedules, ofCron].sort();
  // what was put off goes on in a trace of its own, and a batch has one
  const ofTrace = ofRequest.filter((job) => job !== putOff && !inBatches.includes(job)).sort();
  let before: Served;
  let after: Served;
  beforeAll(async () => {
    const application = await buildService(format);
    try {
      const serve = (withLine: boolean) => serveOrder(application, format, { redis, postgres, withLine });
      [before, after] = await Promise.all([serve(false), serve(true)]);
    } finally {
      application.remove();
    }
  }, 300_000);

  test("ends as before, and says nothing more", () => {
    // graphile-worker says on stderr which task has failed, and the cron of a busy machine that it is late
    const said = ({ stderr }: Served) => stderr.split("\n").filter((line) => !/^( {2}|$|\[Cron\] Missed)/.test(line));
    for (const one of [before, after]) {
      expect(said(one)).toEqual([expect.stringMatching("Failed task .*resize.*attempt 1 of 2")]);
      expect(one.exitCode).toBe(0);
    }
  });

  test("has a task in every handler, and in the helpers that it calls", () => {
    for (const { job, id, task } of after.steps) {
      if (inBatches.includes(job)) expect(task).toBeUndefined();
      else expect(task).toMatchObject({ taskId: id, funcName: job });
    }
    const seenAt = (where: Step["where"], { steps }: Served) =>
      [...new Set(steps.filter((step) => step.where === where).map(({ job }) => job))].sort();
    for (const one of [before, after]) {
      expect([seenAt("handler", one), seenAt("helper", one)]).toEqual([all, all]);
      expect(seenAt("listener", one)).toEqual(ofNest);
    }
    expect(before.steps.filter(({ task }) => task !== undefined)).toEqual([]);
  });

  test("numbers the attempts of what is tried again, and not those of what is put off", () => {
    const attemptsOf = (name: string) =>
      after.steps.filter(({ job, where }) => job === name && where === "handler").map(({ task }) => task?.attempt);
    for (const job of ["receipt", "resize", "invoice"]) expect(attemptsOf(job)).toEqual([0, 1]);
    expect(attemptsOf("paid")).toEqual([0, 0]);
  });

  test("leads one trace from the request to what each attempt calls", () => {
    const request = after.telemetry.spans.find(({ kind }) => kind === "server");
    expect(treeBelow(request, after)).toEqual(tree);
    const jobs = after.calls.filter(({ traceId }) => traceId === request?.traceId).map(({ job }) => job);
    expect([...new Set(jobs)].sort()).toEqual(ofTrace);
    const steps = after.steps.filter(({ job }) => ofTrace.includes(job));
    expect(steps.filter(({ traceId }) => traceId !== request?.traceId)).toEqual([]);
  });

  test("gives each run of a schedule, and each run that was put off, a trace of its own", () => {
    const roots = after.telemetry.spans.filter(({ kind, parentSpanId }) => kind === "consumer" && !parentSpanId);
    const facts = roots.map(({ name, attributes, links }) => [name, attributes["task.trigger"], links.length]);
    expect(new Set(facts.map(String))).toEqual(
      new Set([...ofSchedules.map((job) => `process ${job},schedule,0`), `process ${putOff},,1`]),
    );
  });

  test("gives the job that a cron method adds a trace of its own", () => {
    const [root, ...others] = after.telemetry.spans.filter(
      ({ kind, parentSpanId }) => kind === "producer" && !parentSpanId,
    );
    expect([root?.name, others]).toEqual([`enqueue ${ofCron}`, []]);
    expect(treeBelow(root, after)).toEqual([`consumer process ${ofCron} (attempt 0)`, "  client POST"]);
    const traces = after.steps.filter(({ job }) => job === ofCron).map(({ traceId }) => traceId);
    expect(new Set(traces)).toEqual(new Set([root?.traceId]));
  });

  test("has the task in each line that its logger writes for one", () => {
    const told = after.lines.filter(({ msg }) => msg !== "listening");
    for (const { job = "", task_name } of told) expect(task_name).toBe(inBatches.includes(job) ? undefined : job);
    expect([...new Set(told.map(({ job }) => job))].sort()).toEqual(all);
    const ofReceipt = told.filter(({ job, level }) => job === "receipt" && level === INFO);
    expect(ofReceipt.map(({ task_attempt }) => task_attempt)).toEqual([0, 1]);
  });

  test("counts each task once where it is added and once where it ends", () => {
    const countsOf = (metric: string) =>
      pointsOf(after.telemetry.metrics, metric)
        // a schedule by the minute has one more where a minute begins meanwhile
        .filter(({ attributes }) => !["sweep", "nightly"].includes(String(attributes["task.name"])))
        .map(({ attributes, value }) => [attributes["task.name"], attributes["task.outcome"] ?? "", value].join(" "))
        .sort();
    const counted = (jobs: readonly string[], outcome: string) =>
      jobs.map((job) => `${job} ${outcome} ${counts[job] ?? 1}`).sort();
    expect(countsOf("task.enqueued")).toEqual(counted([...ofRequest, ofCron], ""));
    expect(countsOf("task.finished")).toEqual(counted([...ofRequest, ofCron, "digest"], "success"));
    expect(before.telemetry.metrics.filter(({ name }) => name.startsWith("task."))).toEqual([]);
  });

  test("keeps in Redis what it kept before, and one key more in the options of each job that is added", () => {
    expect(after.redis.entries).toEqual(before.redis.entries);
    expect([before.redis.carriers, after.redis.carriers]).toEqual([0, 9]);
  });

  test("keeps in PostgreSQL what it kept before, and with each job that is added a flag or a trace column more", () => {
    expect(after.rows.entries).toEqual(before.rows.entries);
    expect(after.jobs.entries).toEqual(before.jobs.entries);
    expect([after.rows.carriers, after.jobs.carriers]).toEqual([2, FORMATS[format].hasPgBoss ? 3 : 0]);
    expect([before.rows.carriers, before.jobs.carriers]).toEqual([0, 0]);
  });
}

/** The lines of the spans below one, of its trace alone. */
function treeBelow(root: ReceivedSpan | undefined, { telemetry }: Served): string[] {
  const spans = telemetry.spans.filter(({ traceId }) => traceId === root?.traceId);
  return outline(spans, root?.spanId).map((line) => line.replace("shop: ", ""));
}
