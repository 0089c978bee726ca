import { parentPort } from "node:worker_threads";
import { context, propagation } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CBaggagePropagator } from "@opentelemetry/core";
import { type AttemptInfo, continueAttempt, getTaskContext, runAttempt } from "otel-taskflow";

/** What the other side saw of a task. */
export interface Told {
  readonly task: unknown;
  readonly tenant: string | undefined;
  readonly error?: string;
}

// As an SDK of its own would register them.
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CBaggagePropagator());

function look(): Told {
  const { taskId, funcName, attempt, maxAttempts, tags } = getTaskContext() ?? {};
  const tenant = propagation.getActiveBaggage()?.getEntry("tenant")?.value;
  return { task: { taskId, funcName, attempt, maxAttempts, tags }, tenant };
}

async function handle(info: AttemptInfo): Promise<Told> {
  const { carrier = {}, attempt } = info;
  if (attempt === undefined) return await continueAttempt({ carrier }, look);
  const failed = runAttempt(info, () => {
    throw new RangeError(`attempt ${getTaskContext()?.attempt} failed`);
  });
  const error = await failed.catch(String);
  return { ...(await runAttempt(info, look)), error };
}

parentPort?.on("message", async (info: AttemptInfo) => parentPort?.postMessage(await handle(info)));
process.on("message", async (info: AttemptInfo) => process.send?.(await handle(info)));
