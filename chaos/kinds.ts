/** The engines that `--engine` names, and the server of each. */
export const ENGINES = {
  bullmq: { title: "BullMQ 6 on Redis", server: "redis" },
  bullmq5: { title: "BullMQ 5 on Redis", server: "redis" },
  "bullmq-pg": { title: "BullMQ 6 on PostgreSQL", server: "postgres" },
  "pg-boss": { title: "pg-boss 12", server: "postgres" },
  "graphile-worker": { title: "graphile-worker 0.18", server: "postgres" },
  "graphile-worker-016": { title: "graphile-worker 0.16", server: "postgres" },
} as const;

export type EngineName = keyof typeof ENGINES;

export const QUEUE = "chaos";
export const DATABASE = "test";

/** What a process is told, as JSON in its first argument. */
export interface ProcessSettings {
  readonly role: "producer" | "worker";
  readonly name: string;
  readonly engine: EngineName;
  readonly seed: number;
  /** Where its journal goes. */
  readonly folder: string;
  readonly port: number;
  /** Tasks to enqueue, and ms to do it in; a producer's. */
  readonly tasks: number;
  readonly over: number;
  /** ms by which its clock goes wrong, after it has started. */
  readonly clock: number;
  /** It lacks one of the tasks, as before a deployment; or has other retries, as after one. */
  readonly deployed: "without" | "policy" | "same";
  readonly onlyWorker: boolean;
}
