import { AckPolicy, type JetStreamClient, jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect, type NatsConnection, nanos } from "@nats-io/transport-node";

export const STREAM = process.env.STREAM ?? "ORDERS";
export const SUBJECT = `${STREAM}.ship`;
export const CONSUMER = "workers";
export const MAX_ATTEMPTS = 3;
export const RETRY_DELAY_MS = 500;

/** For both sides, so that the spans of both say where the task went through. */
export const ROUTE = { engine: "nats", system: "nats", destination: SUBJECT };

export interface Order {
  readonly id: number;
}

/** Connects, and makes the stream and its consumer if they are not there. */
export async function openStream(): Promise<{ connection: NatsConnection; js: JetStreamClient }> {
  const connection = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: STREAM, subjects: [`${STREAM}.>`], storage: StorageType.Memory });
  // a message that is neither acknowledged nor refused in time was lost with its worker, and is delivered again
  const ack = { ack_policy: AckPolicy.Explicit, ack_wait: nanos(30_000) };
  await manager.consumers.add(STREAM, { durable_name: CONSUMER, ...ack });
  return { connection, js: jetstream(connection) };
}
