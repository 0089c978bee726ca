import type { BullmqProcessor, BullmqWorkerClass, BullmqWorkerJob } from "otel-taskflow/bullmq";

const SETTLING = ["updateData", "moveToDelayed", "moveToCompleted", "moveToFailed"] as const;

type Settling = { [method in (typeof SETTLING)[number]]: () => Promise<never> };

/** A worker class whose jobs can no longer be settled from a moment on, running ones included. */
export function breakable(Worker: BullmqWorkerClass): { readonly Worker: BullmqWorkerClass; break(): void } {
  const jobs = new Set<BullmqWorkerJob>();
  class BreakableWorker extends Worker {
    constructor(name: string, processor: BullmqProcessor, options: never) {
      const watched: BullmqProcessor = async (job, token) => {
        jobs.add(job);
        await processor(job, token);
      };
      super(name, watched, options);
    }
  }
  const lost = (): Promise<never> => Promise.reject(new Error("connection lost"));
  const broken = Object.fromEntries(SETTLING.map((method) => [method, lost])) as Settling;
  return {
    Worker: BreakableWorker,
    break: () => {
      for (const job of jobs) Object.assign(job, broken);
    },
  };
}
