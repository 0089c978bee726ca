import { randomUUID } from "node:crypto";
import { type Channel, type ChannelModel, connect, type GetMessage } from "amqplib";
import { beforeAll, describe, expect, it } from "vitest";
import { describeUnavailable } from "../support/unavailable.js";
import { expectPrinted, named, OUTCOMES, outcomesByOrder, runSide } from "./broker-example.js";
import { amqpUrl } from "./broker-servers.js";
import { type OtlpReceiver, startOtlpReceiver } from "./otlp-receiver.js";

const FOLDER = "examples/rabbitmq";
const server = await amqpUrl();

if (server.unavailable !== undefined) describeUnavailable(FOLDER, server.unavailable);
else describe(FOLDER, () => describeExample(server.url));

function describeExample(url: string): void {
  const queues: string[] = [];
  let connection: ChannelModel;
  let channel: Channel;
  beforeAll(async () => {
    connection = await connect(url);
    channel = await connection.createChannel();
    return async () => {
      const names = queues.flatMap((queue) => [queue, `${queue}.retries`, `${queue}.failed`]);
      for (const name of names) await channel.deleteQueue(name);
      await connection.close();
    };
  });

  function newQueue(): string {
    const queue = `otel-taskflow-test-${randomUUID()}`;
    queues.push(queue);
    return queue;
  }

  it("prints what the closing comments say, and ends by itself", async () => {
    await expectPrinted(FOLDER, { AMQP_URL: url, QUEUE: newQueue() });
  });

  describe("with a worker that is lost while it has a message", () => {
    const queue = newQueue();
    let receiver: OtlpReceiver;
    beforeAll(async () => {
      receiver = await startOtlpReceiver();
      const env = { AMQP_URL: url, QUEUE: queue, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
      await runSide(FOLDER, "producer", env);
      await takeAndLose();
      await runSide(FOLDER, "worker", env);
      return () => receiver.close();
    });

    /** Takes the first message as a worker does, and goes away without a word about it. */
    async function takeAndLose(): Promise<void> {
      const lost = await connect(url);
      const taken = await (await lost.createChannel()).get(queue);
      expect(taken).not.toBe(false);
      await lost.close();
    }

    it("leads in each trace from the producer's process to the attempts in the worker's", () => {
      expect(outcomesByOrder(receiver.spans)).toEqual(OUTCOMES);
    });

    it("says which attempt was delivered for the second time, and does not count that as another", () => {
      const [first] = named(receiver.spans, "enqueue");
      const redelivered = receiver.spans.filter(({ attributes }) => "task.redelivered" in attributes);
      expect(redelivered.map(({ attributes }) => [attributes["task.id"], attributes["task.attempt"]])).toEqual([
        [first?.attributes["task.id"], 0],
      ]);
    });

    it("names the broker, the queue, the message and the tags on both sides", () => {
      const [enqueued] = named(receiver.spans, "enqueue");
      const id = enqueued?.attributes["task.id"];
      const said = {
        "task.id": id,
        "messaging.message.id": id,
        "messaging.system": "rabbitmq",
        "task.tag.plan": "pro",
      };
      const [attempt] = named(receiver.spans, "process").filter(({ traceId }) => traceId === enqueued?.traceId);
      expect(enqueued?.attributes).toMatchObject({ ...said, "messaging.destination.name": queue });
      expect(attempt?.attributes).toMatchObject({ ...said, "messaging.destination.name": queue });
    });

    it("starts a retry when its delay is over, and knows how long it waited after that", () => {
      const wait = named(receiver.spans, "process").find(({ attributes }) => attributes["task.attempt"] === 1)
        ?.attributes["task.wait.duration"];
      expect(wait).toBeGreaterThanOrEqual(0);
      expect(wait).toBeLessThan(5);
    });

    it("leaves nothing to be delivered again", async () => {
      for (const name of [queue, `${queue}.retries`]) expect((await channel.checkQueue(name)).messageCount).toBe(0);
    });

    it("keeps the order that cannot be shipped, with what it takes to run it again in its trace", async () => {
      const failed = (await channel.get(`${queue}.failed`, { noAck: true })) as GetMessage;
      const [, second] = named(receiver.spans, "enqueue");
      expect(JSON.parse(failed.content.toString())).toEqual({ id: 13 });
      expect(failed.properties.messageId).toBe(second?.attributes["task.id"]);
      expect(failed.properties.headers?.traceparent).toContain(second?.traceId);
    });
  });
}
