import { addJob, addJobs, type BullmqJobQueue } from "../adapters/bullmq.js";
import type { Door } from "../adapters/door.js";

export function addThrough(
  _door: Door,
  queue: BullmqJobQueue,
  name: string,
  data: unknown,
  options: object | undefined,
  add: (options: object | undefined) => Promise<never>,
): Promise<unknown> {
  const own = options as { repeat?: unknown; "otel-taskflow"?: unknown } | undefined;
  if (own?.repeat || own?.["otel-taskflow"]) return add(options);
  const facade: BullmqJobQueue = {
    name: queue.name,
    keys: queue.keys,
    getJob: async (id) => await queue.getJob?.(id),
    add: (_n, _d, o) => add(o),
    addBulk: async () => [],
  };
  return addJob(facade, name, data, options as never);
}

export function addBulkThrough(
  _door: Door,
  queue: BullmqJobQueue,
  jobs: never[],
  addBulk: (jobs: never[]) => Promise<never>,
): Promise<unknown> {
  const facade: BullmqJobQueue = {
    name: queue.name,
    keys: queue.keys,
    add: async () => ({}),
    addBulk: (own) => addBulk(own as never),
  };
  return addJobs(facade, jobs as never);
}

export function flowThrough(_door: Door, _producer: object, tree: object, add: (tree: object) => unknown): unknown {
  return add(tree);
}
