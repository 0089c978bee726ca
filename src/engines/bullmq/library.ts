import type { BullmqJob } from "./job.js";

// What is used of BullMQ, small enough for every major version, for Pro, and for any of its backends to have it.

/** A job as a queue finds it. */
export interface BullmqStoredJob extends BullmqJob {
  getState(): Promise<string>;
}

export interface BullmqQueue {
  add(name: string, data: object, options: object): Promise<unknown>;
  getJob(id: string): Promise<BullmqStoredJob | undefined>;
  getJobCounts(): Promise<Readonly<Record<string, number>>>;
  /** 1 when the job is gone, 0 while a worker holds it. */
  remove(id: string): Promise<number>;
  on(event: "error", listener: (error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  close(): Promise<void>;
  disconnect(): Promise<void>;
}

/** A job as a worker runs it. */
export interface BullmqWorkerJob extends BullmqJob {
  updateData(data: object): Promise<void>;
  moveToDelayed(timestamp: number, token?: string): Promise<void>;
}

export interface BullmqWorker {
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "completed", listener: (job: BullmqWorkerJob) => void): unknown;
  on(event: "failed", listener: (job: BullmqWorkerJob | undefined, error: Error) => void): unknown;
  waitUntilReady(): Promise<unknown>;
  /** Resolves when it has been paused or closed. */
  run(): Promise<void>;
  /** Takes no more jobs; resolves when those it has are carried out. */
  pause(): Promise<void>;
  close(force: boolean): Promise<void>;
}

export type BullmqProcessor = (job: BullmqWorkerJob, token?: string) => Promise<void>;

/** BullMQ's class `Queue`; what options it takes is between it and the application. */
export type BullmqQueueClass = new (name: string, options: never) => BullmqQueue;

/** BullMQ's class `Worker`. */
export type BullmqWorkerClass = new (name: string, processor: BullmqProcessor, options: never) => BullmqWorker;
