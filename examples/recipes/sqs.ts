import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  type Message,
  type MessageAttributeValue,
  ReceiveMessageCommand,
  SendMessageCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { type Carrier, enqueueTask, getTaskContext, isNonRetryableError, runAttempt, taskLog } from "otel-taskflow";

const { QUEUE_URL: QueueUrl, FAILED_URL } = process.env;
const MAX_ATTEMPTS = 3;
const RETRY_DELAY_S = 30;
const ROUTE = { engine: "sqs", system: "aws_sqs", destination: "orders" };

export interface Order {
  readonly id: number;
}

/** The task's id is the message's: `idOf` tells it to the enqueue span, `taskId` to the attempts. */
export async function enqueueOrder(sqs: SQSClient, order: Order, plan: string): Promise<void> {
  const task = { funcName: "shipOrder", tags: { plan }, maxAttempts: MAX_ATTEMPTS, ...ROUTE };
  const MessageBody = JSON.stringify(order);
  await enqueueTask(
    task,
    (carrier) => sqs.send(new SendMessageCommand({ QueueUrl, MessageBody, MessageAttributes: attributesOf(carrier) })),
    { idOf: ({ MessageId }) => MessageId },
  );
}

/** Takes up to ten messages, each of which is an attempt of its own. Call it in a loop. */
export async function workOnBatch(sqs: SQSClient): Promise<void> {
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({
      QueueUrl,
      MaxNumberOfMessages: 10,
      WaitTimeSeconds: 20,
      MessageAttributeNames: ["All"],
      MessageSystemAttributeNames: ["ApproximateReceiveCount"],
    }),
  );
  await Promise.all(Messages.map((message) => handle(sqs, message)));
}

async function handle(sqs: SQSClient, message: Message): Promise<void> {
  const { Body = "", ReceiptHandle, MessageId: taskId, MessageAttributes = {}, Attributes } = message;
  const attempt = Number(Attributes?.ApproximateReceiveCount ?? 1) - 1; // counts what was lost with a worker as well
  const carrier = carrierOf(MessageAttributes);
  try {
    await runAttempt({ carrier, taskId, attempt, ...ROUTE }, () => shipOrder(JSON.parse(Body)));
  } catch (error) {
    if (!isNonRetryableError(error) && attempt + 1 < MAX_ATTEMPTS) {
      const later = { QueueUrl, ReceiptHandle, VisibilityTimeout: RETRY_DELAY_S };
      await sqs.send(new ChangeMessageVisibilityCommand(later));
      return;
    }
    await sqs.send(new SendMessageCommand({ QueueUrl: FAILED_URL, MessageBody: Body, MessageAttributes }));
  }
  await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
}

async function shipOrder({ id }: Order): Promise<void> {
  taskLog("shipping", { order: id, plan: getTaskContext()?.tags.plan });
}

// Four attributes at most, of the ten that a message may have.
function attributesOf(carrier: Carrier): Record<string, MessageAttributeValue> {
  const entries = Object.entries(carrier);
  return Object.fromEntries(entries.map(([name, StringValue]) => [name, { DataType: "String", StringValue }]));
}

function carrierOf(attributes: Record<string, MessageAttributeValue>): Carrier {
  const entries = Object.entries(attributes);
  return Object.fromEntries(entries.map(([name, { StringValue = "" }]) => [name, StringValue]));
}
