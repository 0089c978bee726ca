import { FlowProducer, Queue, type QueueOptions } from "bullmq";

const { REDIS_URL = "redis://127.0.0.1:6379", PREFIX: prefix = "bull" } = process.env;
const { hostname: host, port } = new URL(REDIS_URL);

export const bullmq: QueueOptions = {
  connection: { host, port: Number(port || 6379), maxRetriesPerRequest: null },
  prefix,
};
export const mail: Queue = new Queue("mail", bullmq);
export const webhooks: Queue = new Queue("webhooks", bullmq);
export const flows: FlowProducer = new FlowProducer(bullmq);
