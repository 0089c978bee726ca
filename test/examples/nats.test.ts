import { randomUUID } from "node:crypto";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { describeUnavailable } from "../support/unavailable.js";
import { expectPrinted, named, OUTCOMES, outcomesByOrder, runSide } from "./broker-example.js";
import { natsUrl } from "./broker-servers.js";
import { type OtlpReceiver, startOtlpReceiver } from "./otlp-receiver.js";

const FOLDER = "examples/nats";
const server = await natsUrl();

if (server.unavailable !== undefined) describeUnavailable(FOLDER, server.unavailable);
else describe(FOLDER, () => describeExample(server.url));

function describeExample(url: string): void {
  const streams: string[] = [];
  let manager: JetStreamManager;
  beforeAll(async () => {
    const connection = await connect({ servers: url });
    manager = await jetstreamManager(connection);
    return async () => {
      for (const stream of streams) await manager.streams.delete(stream);
      await connection.close();
    };
  });

  function newStream(): string {
    const stream = `otel-taskflow-test-${randomUUID()}`;
    streams.push(stream);
    return stream;
  }

  it("prints what the closing comments say, and ends by itself", async () => {
    await expectPrinted(FOLDER, { NATS_URL: url, STREAM: newStream() });
  });

  describe("to a backend", () => {
    const stream = newStream();
    let receiver: OtlpReceiver;
    beforeAll(async () => {
      receiver = await startOtlpReceiver();
      const env = { NATS_URL: url, STREAM: stream, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint };
      await runSide(FOLDER, "producer", env);
      await runSide(FOLDER, "worker", env);
      return () => receiver.close();
    });

    it("leads in each trace from the producer's process to the attempts in the worker's", () => {
      expect(outcomesByOrder(receiver.spans)).toEqual(OUTCOMES);
    });

    it("names the broker, the subject, the message and the tags on both sides", () => {
      const [enqueued] = named(receiver.spans, "enqueue");
      const id = enqueued?.attributes["task.id"];
      const said = { "task.id": id, "messaging.message.id": id, "messaging.system": "nats", "task.tag.plan": "pro" };
      const [attempt] = named(receiver.spans, "process").filter(({ traceId }) => traceId === enqueued?.traceId);
      expect(enqueued?.attributes).toMatchObject({ ...said, "messaging.destination.name": `${stream}.ship` });
      expect(attempt?.attributes).toMatchObject({ ...said, "messaging.destination.name": `${stream}.ship` });
    });

    it("leaves nothing to be delivered again", async () => {
      await vi.waitFor(async () => {
        const { num_pending, num_ack_pending } = await manager.consumers.info(stream, "workers");
        expect([num_pending, num_ack_pending]).toEqual([0, 0]);
      }, 5_000);
    });
  });
}
