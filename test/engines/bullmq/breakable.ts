import type { BullmqProcessor, BullmqWorkerClass, BullmqWorkerJob } from "otel-taskflow/bullmq";

const SETTLING = ["updateData", "moveToDelayed", "moveToCompleted", "moveToFailed"] as const;

type Settling = Record<(typeof SETTLING)[number], (...args: unknown[]) => Promise<unknown>>;

/** A worker class whose jobs can no longer be settled from a moment on, running ones included. */
export function breakable(Worker: BullmqWorkerClass): { readonly Worker: BullmqWorkerClass; break(): void } {
  let isBroken = false;
  const watch = (job: BullmqWorkerJob): void => {
    const settling = job as unknown as Settling;
    for (const method of SETTLING) {
      const settle = settling[method].bind(job);
      settling[method] = (...args) => (isBroken ? Promise.reject(new Error("connection lost")) : settle(...args));
    }
  };
  class BreakableWorker extends Worker {
    constructor(name: string, processor: BullmqProcessor, options: never) {
      const watched: BullmqProcessor = async (job, token) => {
        watch(job);
        await processor(job, token);
      };
      super(name, watched, options);
    }
  }
  return {
    Worker: BreakableWorker,
    break: () => {
      isBroken = true;
    },
  };
}
