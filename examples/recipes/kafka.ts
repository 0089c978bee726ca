import { setTimeout as wait } from "node:timers/promises";
import type { Consumer, EachMessagePayload, IHeaders, KafkaMessage, Producer } from "kafkajs";
import { enqueueTask, getTaskContext, isNonRetryableError, runAttempt, taskLog } from "otel-taskflow";

const TOPIC = "orders";
const RETRIES = "orders.retries";
const FAILED = "orders.failed";
const MAX_ATTEMPTS = 3;
const RETRY_DELAY_MS = 5_000; // well below the consumer's sessionTimeout
const ROUTE = { engine: "kafka", system: "kafka", destination: TOPIC };

export interface Order {
  readonly id: number;
}

export async function enqueueOrder(producer: Producer, order: Order, plan: string): Promise<void> {
  const task = { funcName: "shipOrder", tags: { plan }, maxAttempts: MAX_ATTEMPTS, ...ROUTE };
  await enqueueTask(task, async (headers, taskId) => {
    await producer.send({ topic: TOPIC, messages: [{ key: taskId, value: JSON.stringify(order), headers }] });
  });
}

export async function work(consumer: Consumer, producer: Producer): Promise<void> {
  await consumer.subscribe({ topics: [TOPIC, RETRIES] });
  await consumer.run({ eachMessage: (payload) => handle(producer, payload) });
}

/** Kafka counts no deliveries: the attempt travels in a header, and a message that fails is sent again. */
export async function handle(producer: Producer, { message }: EachMessagePayload): Promise<void> {
  const { attempt = "0", dueAt, ...carrier } = textOf(message.headers);
  const info = { carrier, attempt: Number(attempt), dueAt: dueAt === undefined ? undefined : Number(dueAt), ...ROUTE };
  await wait(Math.max(0, Number(dueAt ?? 0) - Date.now())); // what comes behind it in RETRIES is due later
  try {
    await runAttempt(info, () => shipOrder(JSON.parse(message.value?.toString() ?? "")));
  } catch (error) {
    const giveUp = isNonRetryableError(error) || info.attempt + 1 >= MAX_ATTEMPTS;
    await sendOn(producer, message, giveUp ? FAILED : RETRIES, info.attempt + 1);
  }
}

async function sendOn(producer: Producer, message: KafkaMessage, topic: string, attempt: number): Promise<void> {
  const { key, value } = message;
  const headers = { ...message.headers, attempt: String(attempt), dueAt: String(Date.now() + RETRY_DELAY_MS) };
  await producer.send({ topic, messages: [{ key, value, headers }] });
}

async function shipOrder({ id }: Order): Promise<void> {
  taskLog("shipping", { order: id, plan: getTaskContext()?.tags.plan });
}

function textOf(headers: IHeaders = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
