import { warn } from "./guard.js";

/** Most labels that the jobs of one queue may have in this process, the queue's own name among them. */
const MAX_LABELS = 200;

/** The labels of a queue, and whether it was told that there are no more. */
interface QueueLabels {
  readonly names: Set<string>;
  isTold: boolean;
}

/** By library, and by queue. */
const libraries = new Map<string, Map<string, QueueLabels>>();

/**
 * The name that stands for a job in the names of its spans and in the attributes of its metrics: its own, or the
 * queue's once the jobs of this queue have had 200 names in this process. Services that name each job after an order or
 * a user would otherwise make a time series for each of them. Told to diag once for each queue.
 */
export function boundedName(library: string, queue: string, name: string): string {
  const labels = labelsOf(library, queue);
  if (labels.names.has(name)) return name;
  if (labels.names.size < MAX_LABELS) {
    labels.names.add(name);
    return name;
  }
  if (!labels.isTold) warn(`a queue's jobs have ${MAX_LABELS} names or more: others are shown by the queue's name`);
  labels.isTold = true;
  return queue;
}

function labelsOf(library: string, queue: string): QueueLabels {
  const queues = libraries.get(library) ?? new Map<string, QueueLabels>();
  const labels = queues.get(queue) ?? { names: new Set([queue]), isTold: false };
  if (labels.names.size === 1) {
    queues.set(queue, labels);
    libraries.set(library, queues);
  }
  return labels;
}
