import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";

export const QUEUE = process.env.QUEUE ?? "orders";
export const RETRIES = `${QUEUE}.retries`;
export const FAILED = `${QUEUE}.failed`;
export const MAX_ATTEMPTS = 3;
export const RETRY_DELAY_MS = 500;

/** For both sides, so that the spans of both say where the task went through. */
export const ROUTE = { engine: "rabbitmq", system: "rabbitmq", destination: QUEUE };

export interface Order {
  readonly id: number;
}

/** Connects, and makes the queues if they are not there. */
export async function openQueues(): Promise<{ connection: ChannelModel; channel: ConfirmChannel }> {
  const connection = await connect(process.env.AMQP_URL ?? "amqp://127.0.0.1");
  const channel = await connection.createConfirmChannel();
  // what is rejected goes to FAILED; what has waited in RETRIES for long enough comes back
  await channel.assertQueue(QUEUE, { deadLetterExchange: "", deadLetterRoutingKey: FAILED });
  await channel.assertQueue(RETRIES, {
    messageTtl: RETRY_DELAY_MS,
    deadLetterExchange: "",
    deadLetterRoutingKey: QUEUE,
  });
  await channel.assertQueue(FAILED);
  return { connection, channel };
}
