import { beforeAll, describe, expect, test } from "vitest";
import type { Attributes } from "../e2e/otlp-json.js";
import { outline, pointsOf } from "../e2e/queries.js";
import { postgresUrl, redisUrl } from "../support/servers.js";
import { describeUnavailable } from "../support/unavailable.js";
import { buildService, FORMATS, type Format, type Served, serveOrder } from "./service.js";

const TITLE = "a service that adds one line to its set-up of OpenTelemetry";
const [{ url: redis = "", ...noRedis }, { url: postgres = "", ...noPostgres }] = await Promise.all([
  redisUrl(),
  postgresUrl(),
]);
const unavailable = noRedis.unavailable ?? noPostgres.unavailable;

/** A level of pino's. */
const INFO = 30;
/** The jobs of the order's own request; the others come from a scheduler and a crontab. */
const OF_REQUEST = ["receipt", "created", "paid", "shipped", "page", "album", "resize", "archive"];
const OF_SCHEDULES = ["digest", "sweep"];
const JOBS = [...OF_REQUEST, ...OF_SCHEDULES].sort();
/** What is below the span of the request, in the order of its lines. */
const TREE = `
producer enqueue album
  consumer process album (attempt 0)
    client POST
  producer enqueue page
    consumer process page (attempt 0)
      internal continue page
        client POST
  producer enqueue page
    consumer process page (attempt 0)
      internal continue page
        client POST
producer enqueue created
  consumer process created (attempt 0)
    client POST
producer enqueue paid
  consumer process paid (attempt 0)
producer enqueue receipt
  consumer process receipt (attempt 0)
    client POST
  consumer process receipt (attempt 1)
    client POST
producer enqueue resize
  consumer process resize (attempt 0)
    client POST
  consumer process resize (attempt 1)
    client POST
    producer enqueue archive
      consumer process archive (attempt 0)
        client POST
producer enqueue shipped
  consumer process shipped (attempt 0)
    client POST`;

if (unavailable !== undefined) describeUnavailable(TITLE, unavailable);
else describe.each(Object.keys(FORMATS) as Format[])(`${TITLE} (%s)`, cases);

function cases(format: Format): void {
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
  }, 150_000);

  test("ends as before, and says nothing more", () => {
    // graphile-worker says on stderr which task has failed
    const said = ({ stderr }: Served) => stderr.split("\n").filter((line) => !/^( {2}|$)/.test(line));
    for (const one of [before, after]) {
      expect(said(one)).toEqual([expect.stringMatching("Failed task .*resize.*attempt 1 of 2")]);
      expect(one.exitCode).toBe(0);
    }
  });

  test("has a task in every handler, and in the helpers that it calls", () => {
    for (const { job, id, where, task } of after.steps)
      expect({ where, ...task }).toMatchObject({ where, taskId: id, funcName: job });
    for (const where of ["handler", "helper"]) {
      const jobs = after.steps.filter((step) => step.where === where).map(({ job }) => job);
      expect([...new Set(jobs)].sort()).toEqual(JOBS);
    }
    expect(before.steps.filter(({ task }) => task !== undefined)).toEqual([]);
  });

  test("numbers the attempts of what is tried again, and not those of what is put off", () => {
    const attemptsOf = (name: string) =>
      after.steps.filter(({ job, where }) => job === name && where === "handler").map(({ task }) => task?.attempt);
    expect([attemptsOf("receipt"), attemptsOf("resize"), attemptsOf("paid")]).toEqual([
      [0, 1],
      [0, 1],
      [0, 0],
    ]);
  });

  test("leads one trace from the request to what each attempt calls", () => {
    const { spans } = after.telemetry;
    const request = spans.find(({ kind }) => kind === "server");
    const lines = outline(
      spans.filter(({ traceId }) => traceId === request?.traceId),
      request?.spanId,
    );
    expect(lines.map((line) => line.replace("shop: ", ""))).toEqual(TREE.split("\n").slice(1));
    // what was put off goes on in a trace of its own
    const jobs = after.calls.filter(({ traceId }) => traceId === request?.traceId).map(({ job }) => job);
    expect([...new Set(jobs)].sort()).toEqual(OF_REQUEST.filter((job) => job !== "paid").sort());
  });

  test("gives each run of a schedule, and each run that was put off, a trace of its own", () => {
    const roots = after.telemetry.spans.filter(({ kind, parentSpanId }) => kind === "consumer" && !parentSpanId);
    const facts = roots.map(({ name, attributes, links }) => [name, attributes["task.trigger"], links.length]);
    expect(new Set(facts.map(String))).toEqual(
      new Set(["process digest,schedule,0", "process sweep,schedule,0", "process paid,,1"]),
    );
  });

  test("has the task in each line that its logger writes for one", () => {
    const told = after.lines.filter(({ msg }) => msg !== "listening");
    for (const { job, task_name } of told) expect(task_name).toBe(job);
    expect([...new Set(told.map(({ task_name }) => task_name))].sort()).toEqual(JOBS);
    const ofReceipt = told.filter(({ job, level }) => job === "receipt" && level === INFO);
    expect(ofReceipt.map(({ task_attempt }) => task_attempt)).toEqual([0, 1]);
  });

  test("counts each task once where it is added and once where it ends", () => {
    const countsOf = (metric: string) =>
      pointsOf(after.telemetry.metrics, metric)
        .filter(({ attributes }) => attributes["task.name"] !== "sweep")
        .map(({ attributes, value }) => [attributes["task.name"], attributes["task.outcome"] ?? "", value].join(" "))
        .sort();
    const counted = (jobs: readonly string[], outcome: string) =>
      jobs.map((job) => `${job} ${outcome} ${job === "page" ? 2 : 1}`).sort();
    expect(countsOf("task.enqueued")).toEqual(counted(OF_REQUEST, ""));
    expect(countsOf("task.finished")).toEqual(counted([...OF_REQUEST, "digest"], "success"));
    expect(before.telemetry.metrics.filter(({ name }) => name.startsWith("task."))).toEqual([]);
  });

  test("keeps in Redis what it kept before, and one key more in the options of each job that is added", () => {
    expect(after.redis.entries).toEqual(before.redis.entries);
    const added = after.telemetry.spans.filter(({ name, attributes }) => isAdded(name, attributes, "bullmq"));
    expect([before.redis.carriers, after.redis.carriers, added.length]).toEqual([0, 7, 7]);
  });

  test("keeps in PostgreSQL what it kept before, and a flag more with each job that is added", () => {
    expect(after.rows.entries).toEqual(before.rows.entries);
    const added = after.telemetry.spans.filter(({ name, attributes }) => isAdded(name, attributes, "graphile-worker"));
    expect([before.rows.carriers, after.rows.carriers, added.length]).toEqual([0, 2, 2]);
  });
}

function isAdded(name: string, attributes: Attributes, engine: string): boolean {
  return name.startsWith("enqueue ") && attributes["task.engine"] === engine;
}
