import { setTimeout as wait } from "node:timers/promises";
import { enqueueTask } from "otel-taskflow";
import type { Job, Reply } from "./resize.js";

const MAX_ATTEMPTS = 3;
const RETRY_DELAY_MS = 100;

/** The main side, whatever messages travel by: hands tasks over, and those that failed once more. */
export async function resizeAll(
  widths: readonly number[],
  post: (job: Job) => void,
  onReply: (take: (reply: Reply) => void) => void,
): Promise<void> {
  let left = widths.length;
  const done = new Promise<void>((resolve) => {
    onReply(async (reply) => {
      if (await settled(reply, post)) left -= 1;
      if (left === 0) resolve();
    });
  });
  for (const width of widths) {
    const task = { funcName: "resize", tags: { plan: "pro" }, maxAttempts: MAX_ATTEMPTS };
    await enqueueTask(task, (carrier) => post({ carrier, attempt: 0, dueAt: Date.now(), width }));
  }
  await done;
}

async function settled(reply: Reply, post: (job: Job) => void): Promise<boolean> {
  const { job } = reply;
  if ("result" in reply) {
    console.log(`${job.width}: ${reply.result}`);
    return true;
  }
  if (reply.giveUp || job.attempt + 1 >= MAX_ATTEMPTS) {
    console.log(`${job.width}: gave up, ${reply.error}`);
    return true;
  }
  await wait(RETRY_DELAY_MS);
  post({ ...job, attempt: job.attempt + 1, dueAt: Date.now() });
  return false;
}
