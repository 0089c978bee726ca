import type { SQSClient } from "@aws-sdk/client-sqs";
import type { EachMessagePayload, Message, Producer } from "kafkajs";
import { beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  type BeeJob,
  type BeeQueue,
  enqueueOrder as enqueueInBee,
  type Stored,
  work,
} from "../../examples/recipes/bee-queue.js";
import { enqueueOrder as enqueueInKafka, handle } from "../../examples/recipes/kafka.js";
import { enqueueOrder as enqueueInSqs, workOnBatch } from "../../examples/recipes/sqs.js";
import { startTelemetry, type TestTelemetry } from "../support/telemetry.js";

// No such broker runs here: what the recipes ask of its client is recorded, and answered as the broker would.

interface Sent {
  readonly command: string;
  readonly input: Record<string, unknown>;
}

/** A queue of SQS with one message, which is delivered for the given time. */
function fakeSqs(sent: Sent[]): SQSClient & { body: string; receiveCount: number } {
  const fake = {
    body: "",
    receiveCount: 1,
    attributes: {} as unknown,
    async send(given: { input: Record<string, unknown> }) {
      const { input } = given;
      const command = given.constructor.name.replace("Command", "");
      sent.push({ command, input });
      if (command === "SendMessage") this.attributes = input.MessageAttributes;
      if (command !== "ReceiveMessage") return { MessageId: "m-1" };
      const Attributes = { ApproximateReceiveCount: String(this.receiveCount) };
      const message = { MessageId: "m-1", ReceiptHandle: "r-1", Body: this.body, Attributes };
      return { Messages: [{ ...message, MessageAttributes: this.attributes }] };
    },
  };
  return fake as unknown as ReturnType<typeof fakeSqs>;
}

function told(telemetry: TestTelemetry): unknown[] {
  return telemetry
    .named("process shipOrder")
    .map(({ attributes }) => [attributes["task.attempt"], attributes["task.outcome"]]);
}

let telemetry: TestTelemetry;
beforeEach(() => {
  telemetry = startTelemetry();
});

describe("the recipe for SQS", () => {
  const sent: Sent[] = [];
  const sqs = fakeSqs(sent);
  beforeEach(async () => {
    Object.assign(sqs, { body: '{"id":7}', receiveCount: 1 });
    await enqueueInSqs(sqs, { id: 7 }, "pro");
    sent.length = 0;
  });

  it("carries the task in message attributes, under the message's id", async () => {
    await workOnBatch(sqs);
    const [enqueued, attempt] = [telemetry.span("enqueue shipOrder"), telemetry.span("process shipOrder")];
    expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    const said = {
      "task.id": "m-1",
      "messaging.message.id": "m-1",
      "messaging.system": "aws_sqs",
      "task.tag.plan": "pro",
    };
    expect(enqueued.attributes).toMatchObject(said);
    expect(attempt.attributes).toMatchObject(said);
    expect(sent.map(({ command }) => command)).toEqual(["ReceiveMessage", "DeleteMessage"]);
  });

  it("makes a message that fails visible again later", async () => {
    sqs.body = "no JSON";
    await workOnBatch(sqs);
    expect(told(telemetry)).toEqual([[0, "retry"]]);
    expect(sent[1]).toMatchObject({ command: "ChangeMessageVisibility", input: { VisibilityTimeout: 30 } });
  });

  it("moves a message away that fails for the last time", async () => {
    Object.assign(sqs, { body: "no JSON", receiveCount: 3 });
    await workOnBatch(sqs);
    expect(told(telemetry)).toEqual([[2, "failure"]]);
    expect(sent.map(({ command }) => command)).toEqual(["ReceiveMessage", "SendMessage", "DeleteMessage"]);
    expect(sent[1]?.input).toMatchObject({ MessageBody: "no JSON", MessageAttributes: { traceparent: {} } });
  });
});

describe("the recipe for Kafka", () => {
  const sent: { topic: string; messages: Message[] }[] = [];
  const producer = { send: async (record: (typeof sent)[0]) => void sent.push(record) } as unknown as Producer;
  beforeEach(async () => {
    sent.length = 0;
    await enqueueInKafka(producer, { id: 7 }, "pro");
  });

  /** Delivers what was sent last as a broker does: every text as bytes. */
  async function deliver(value?: string): Promise<void> {
    const [message] = sent.at(-1)?.messages ?? [];
    const headers = Object.entries(message?.headers ?? {}).map(([name, text]) => [name, Buffer.from(String(text))]);
    const delivered = { value: Buffer.from(value ?? String(message?.value)), headers: Object.fromEntries(headers) };
    await handle(producer, { message: delivered } as unknown as EachMessagePayload);
  }

  it("carries the task in headers", async () => {
    await deliver();
    const [enqueued, attempt] = [telemetry.span("enqueue shipOrder"), telemetry.span("process shipOrder")];
    expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
    const said = { "task.id": sent[0]?.messages[0]?.key, "messaging.system": "kafka", "task.tag.plan": "pro" };
    expect(attempt.attributes).toMatchObject({ ...said, "task.attempt": 0 });
    expect(sent).toHaveLength(1);
  });

  it("sends a message that fails again, and away after the last attempt", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    onTestFinished(() => void vi.useRealTimers());
    for (let delivery = 0; delivery < 3; delivery += 1) {
      await deliver("no JSON");
      vi.advanceTimersByTime(5_000);
    }
    expect(told(telemetry)).toEqual([
      [0, "retry"],
      [1, "retry"],
      [2, "failure"],
    ]);
    expect(sent.map(({ topic }) => topic)).toEqual(["orders", "orders.retries", "orders.retries", "orders.failed"]);
    const waits = telemetry.named("process shipOrder").map(({ attributes }) => attributes["task.wait.duration"]);
    expect(waits.slice(1)).toEqual([0, 0]);
  });

  it("starts no retry before it is due", async () => {
    const [message] = sent[0]?.messages ?? [];
    const dueAt = Date.now() + 100;
    const headers = { ...message?.headers, attempt: "1", dueAt: String(dueAt) };
    sent.push({ topic: "orders.retries", messages: [{ value: "{}", headers }] });
    await deliver();
    expect(Date.now()).toBeGreaterThan(dueAt - 10); // timers keep another time than clocks
    expect(told(telemetry)).toEqual([[1, "success"]]);
  });
});

describe("the recipe for bee-queue", () => {
  /** Keeps one job, and runs it as bee-queue does: each failure takes one of its retries, until there is none. */
  function fakeBee(): BeeQueue & { run(): Promise<void> } {
    let handler: (job: BeeJob) => Promise<unknown> = async () => {};
    let job: BeeJob = { id: "", data: { carrier: {}, data: { id: 0 } }, options: { retries: 0 } };
    return {
      createJob: (data: Stored) => ({
        retries: (retries) => ({
          save: async () => {
            job = { id: "1", data: JSON.parse(JSON.stringify(data)), options: { retries } };
            return job;
          },
        }),
      }),
      process: (given) => {
        handler = given;
      },
      async run() {
        for (let retries = job.options.retries; retries >= 0; retries -= 1) {
          const failed = await handler({ ...job, options: { retries } }).then(
            () => false,
            () => true,
          );
          if (!failed) return;
        }
      },
    };
  }

  it("carries the task beside the data, under the job's id, and counts its attempts", async () => {
    const queue = fakeBee();
    work(queue);
    await enqueueInBee(queue, { id: -1 }, "pro");
    await queue.run();
    expect(told(telemetry)).toEqual([
      [0, "retry"],
      [1, "retry"],
      [2, "failure"],
    ]);
    const enqueued = telemetry.span("enqueue shipOrder");
    for (const attempt of telemetry.named("process shipOrder")) {
      expect(attempt.parentSpanContext?.spanId).toBe(enqueued.spanContext().spanId);
      expect(attempt.attributes).toMatchObject({ "task.id": "1", "task.tag.plan": "pro" });
    }
  });
});
