import { checkFunction, checkObject, checkText } from "../../core/checks.js";
import { enqueueTask } from "../../core/enqueue.js";
import type { Carrier, ProducerOptions, TaskInfo } from "../../core/types.js";
import { withCarrier } from "./carried-data.js";

/** The part of a `PgBoss` instance that sends jobs. */
export interface JobSender {
  send(name: string, data: object, options: object): Promise<string | null>;
}

/** What pg-boss's own `send` takes as its options. */
export type SendOptionsOf<B> = B extends { send: (name: string, data: never, options: infer O) => unknown }
  ? NonNullable<O>
  : object;

/** What `sendJob` adds to them. */
export type SendJobOptions = ProducerOptions;

/**
 * `boss.send` with a PRODUCER span around it, and the job related to it: resolves to what `send` returned, `null`
 * where pg-boss stored no job because of a singleton or throttle rule. The job's data has one key more for every
 * reader but {@link workTask}. Needs no SDK.
 *
 * @throws TaskConfigError for an illegal tag or option; nothing is sent then.
 */
export async function sendJob<B extends JobSender>(
  boss: B,
  queue: string,
  data?: unknown,
  // none of pg-boss's options has to be given
  options: SendOptionsOf<B> & SendJobOptions = {} as SendOptionsOf<B>,
): Promise<string | null> {
  checkObject("sendJob(): its first argument", boss);
  checkFunction("send of the PgBoss", boss.send);
  checkText("queue", queue);
  checkObject("sendJob(): its options", options);
  const { tags, relation, baggage, tracerProvider, meterProvider, ...own } = options;
  const task: TaskInfo = {
    funcName: queue,
    taskId: (own as { id?: string }).id, // of pg-boss's own options, and checked as any task's id
    tags,
    relation,
    baggage,
    tracerProvider,
    meterProvider,
    engine: "pg-boss",
    system: "pg-boss",
    destination: queue,
  };
  const send = (carrier: Carrier, id: string): Promise<string | null> =>
    boss.send(queue, withCarrier(data, carrier), { ...own, id });
  return await enqueueTask(task, send, { isStored: (id) => id !== null });
}
