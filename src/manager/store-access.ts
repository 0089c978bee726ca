import { HOME } from "../core/home.js";
import { isThenable } from "../core/thenable.js";
import { whenAborted } from "../core/when-aborted.js";
import type { Delivery, OpenEngine, TaskMessage } from "../engines/engine.js";
import { answered, pause, type StoreHearing } from "./patience.js";

/** For so long an engine that is told to stop is waited for beyond the deadline. */
const OVERDUE_MS = 200;

// The calls of an engine that ask its store, none of which is waited for without an end, nor when the store is not waited for any more.

/** {@link OpenEngine.enqueue}; rejects with a `TaskStoreError` where the store gives no answer. */
export async function storeTask(engine: OpenEngine, message: TaskMessage, hearing: StoreHearing): Promise<boolean> {
  let known: false | undefined = false;
  let isOver = false;
  const store = async (): Promise<boolean> => {
    await engine.connect?.();
    // it has been said by now that the task is not stored
    if (isOver) return false;
    known = undefined;
    return await engine.enqueue(message);
  };
  try {
    return await answered(store(), hearing, () => known);
  } finally {
    isOver = true;
  }
}

/** {@link OpenEngine.work}; rejects with a `TaskStoreError` where the store gives no answer. */
export async function startWork(engine: OpenEngine, names: readonly string[], hearing: StoreHearing): Promise<void> {
  const working = HOME.runInAsyncScope(engine.work, engine, names);
  if (!isThenable(working)) return;
  try {
    await answered(working, hearing, () => false);
  } catch (error) {
    // a shutdown ends what still waits for its start
    if (!hearing.closing.aborted) throw error;
  }
}

/** {@link OpenEngine.quiesce}; an engine that does not stop in time has nothing to say of what it left. */
export async function stopWork(engine: OpenEngine, deadline: AbortSignal): Promise<readonly Delivery[]> {
  const quiescing = (async () => await engine.quiesce(deadline))();
  const overdue = async (): Promise<readonly Delivery[]> => {
    await whenAborted(deadline);
    await pause(OVERDUE_MS);
    return [];
  };
  return await Promise.race([quiescing, overdue()]);
}
