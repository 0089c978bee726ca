import { type Job, Worker } from "bullmq";
import { tellPartner } from "./partner.js";
import { webhooks } from "./queues.js";
import { reach } from "./steps.js";

const PAUSE_MS = 50;
let isPaused = false;

/** Runs what is in the queue `webhooks`; the partner asks it once to slow down. */
export async function callWebhook(job: Job): Promise<void> {
  reach(job.name, job.id, "handler");
  if (job.name === "paid" && !isPaused) {
    isPaused = true;
    await webhooks.rateLimit(PAUSE_MS);
    throw Worker.RateLimitError();
  }
  await tellPartner(job.name, job.id);
}
