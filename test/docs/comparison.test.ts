import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { Queue, Worker } from "bullmq";
import { BullMQOtel } from "bullmq-otel";
import { PgBoss } from "pg-boss";
import { describe, expect, onTestFinished, test } from "vitest";
import { postgresUrl, redisUrl } from "../support/servers.js";
import { startTelemetry } from "../support/telemetry.js";
import { describeUnavailable } from "../support/unavailable.js";

const redis = await redisUrl();
const postgres = await postgresUrl();
const name = `comparison-${process.pid}`;

interface Seen {
  readonly kind: SpanKind;
  readonly status: SpanStatusCode;
  readonly events: readonly string[];
}

const seen = ({ kind, status, events }: ReadableSpan): Seen => ({
  kind,
  status: status.code,
  events: events.map((event) => event.name),
});

// A job that fails once, added and worked by BullMQ with its own telemetry.
async function runBullMq(url: string): Promise<ReadableSpan[]> {
  const spans = startTelemetry();
  const telemetry = new BullMQOtel({ tracerName: "comparison" });
  const connection = { url, maxRetriesPerRequest: null };
  const queue = new Queue(name, { connection, telemetry });
  const fail = async (job: { attemptsMade: number }): Promise<void> => {
    if (job.attemptsMade === 0) throw new TypeError("once");
  };
  const worker = new Worker(name, fail, { connection, telemetry });
  onTestFinished(() => queue.obliterate({ force: true }).then(() => queue.close()));
  const completed = new Promise((resolve) => worker.once("completed", resolve));
  await queue.add("job", {}, { attempts: 2, backoff: { type: "fixed", delay: 1 } });
  await completed;
  await worker.close();
  return spans.spans();
}

// The same by pg-boss with its own telemetry.
async function runPgBoss(url: string): Promise<ReadableSpan[]> {
  const spans = startTelemetry();
  const schema = name.replaceAll("-", "_");
  const boss = new PgBoss({ connectionString: url, schema, openTelemetry: { propagateContext: true } });
  boss.on("error", () => {});
  await boss.start();
  onTestFinished(async () => {
    await boss.getDb().executeSql(`DROP SCHEMA ${schema} CASCADE`);
    await boss.stop({ graceful: false });
  });
  await boss.createQueue(name);
  const done = new Promise<void>((resolve) => {
    void boss.work(name, { includeMetadata: true, pollingIntervalSeconds: 0.5 }, async ([job]) => {
      if (job?.retryCount === 0) throw new TypeError("once");
      resolve();
    });
  });
  await boss.send(name, {}, { retryLimit: 1, retryDelay: 0 });
  await done;
  await boss.offWork(name);
  return spans.spans();
}

if (redis.url === undefined) describeUnavailable("bullmq-otel", redis.unavailable);
else
  test("bullmq-otel is what the comparison says", async () => {
    const spans = await runBullMq(redis.url);
    const add = spans.find((span) => span.name === `add ${name}.job`)?.spanContext();
    const attempts = spans.filter((span) => span.name === `process ${name}`);
    expect(attempts.map(seen)).toEqual([
      { kind: SpanKind.CONSUMER, status: SpanStatusCode.UNSET, events: ["job failed"] },
      { kind: SpanKind.CONSUMER, status: SpanStatusCode.UNSET, events: ["job completed"] },
    ]);
    expect(attempts.map((span) => span.attributes["bullmq.job.attempts.made"])).toEqual([1, 2]);
    expect(attempts.map((span) => span.parentSpanContext?.spanId)).toEqual([add?.spanId, add?.spanId]);
    expect(attempts.flatMap((span) => span.links)).toEqual([]);
    expect(spans.map((span) => span.name)).toContain(`delay ${name}`);
    expect(Object.keys(attempts[0]?.attributes ?? {}).filter((key) => key.startsWith("messaging."))).toEqual([]);
  });

if (postgres.url === undefined) describeUnavailable("pg-boss's own telemetry", postgres.unavailable);
else
  describe("pg-boss's own telemetry", () => {
    test("is what the comparison says", async () => {
      const spans = await runPgBoss(postgres.url);
      const send = spans.find((span) => span.name === `send ${name}`)?.spanContext();
      const attempts = spans.filter((span) => span.name === `process ${name}`);
      expect(attempts.map(seen)).toEqual([
        { kind: SpanKind.CONSUMER, status: SpanStatusCode.ERROR, events: ["exception"] },
        { kind: SpanKind.CONSUMER, status: SpanStatusCode.UNSET, events: [] },
      ]);
      expect(attempts.map((span) => span.attributes["pgboss.job.retry_count"])).toEqual([0, 1]);
      expect(attempts.map((span) => span.parentSpanContext?.spanId)).toEqual([send?.spanId, send?.spanId]);
      expect(attempts.map((span) => span.attributes["messaging.system"])).toEqual(["pg-boss", "pg-boss"]);
    });
  });
