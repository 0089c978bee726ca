import { type EngineName, QUEUE } from "./kinds.js";
import type { Row } from "./servers.js";

interface Job {
  readonly id?: string | undefined;
  readonly failedReason?: string;
  readonly attemptsMade: number;
}

const STATES = ["active", "delayed", "failed", "prioritized", "wait", "waiting-children"] as const;

/** The jobs of the queue; those that succeeded are removed. */
export async function bullmqRows(
  engine: EngineName,
  { url, port }: { url: string; port: number },
  which: "all" | "live",
): Promise<Row[]> {
  const queue = await openQueue(engine, url, port);
  queue.on("error", () => {}); // its calls reject
  const states = which === "all" ? STATES : STATES.filter((state) => state !== "failed");
  try {
    const found = await Promise.all(states.map(async (state) => rowsOf(state, await queue.getJobs([state]))));
    return found.flat();
  } finally {
    await queue.close();
  }
}

async function openQueue(engine: EngineName, connectionString: string, port: number) {
  const connection = { host: "127.0.0.1", port };
  if (engine === "bullmq5") return new (await import("bullmq5")).Queue(QUEUE, { connection });
  const { createPostgresBackend, Queue, withBackend } = await import("bullmq");
  if (engine === "bullmq") return new Queue(QUEUE, { connection });
  return new (withBackend(createPostgresBackend).Queue)(QUEUE, { connection: { connectionString, migrate: true } });
}

function rowsOf(state: (typeof STATES)[number], jobs: readonly (Job | undefined)[]): Row[] {
  return jobs.flatMap((job) => {
    if (job?.id === undefined) return [];
    const detail = `${state} ${job.failedReason ?? ""} attempts=${job.attemptsMade}`;
    return [{ id: taskIdOf(job.id), state: state === "failed" ? "failed" : "live", detail } as const];
  });
}

// docs/engines.md, "Ids in BullMQ"
function taskIdOf(jobId: string): string {
  return jobId.startsWith("id=") ? jobId.slice(3).replaceAll("%3A", ":").replaceAll("%25", "%") : jobId;
}
