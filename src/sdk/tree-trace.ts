import type { TreeSpan } from "./tree-span.js";

/**
 * The spans of one trace that wait to be printed, and what the trace is still waiting for: a parent
 * that runs in this process, the first attempt of a task queued in memory, a retry.
 */
export class TreeTrace {
  readonly traceId: string;
  /** Spans received, printed ones included. */
  count = 0;
  /** Start of the first batch that was printed, epoch ms. */
  origin: number | undefined;
  timer: NodeJS.Timeout | undefined;
  #spans: TreeSpan[] = [];
  readonly #seen = new Set<string>();
  readonly #openParents = new Set<string>();
  readonly #openTasks = new Set<string>();
  readonly #startedTasks = new Set<string>();

  constructor(traceId: string) {
    this.traceId = traceId;
  }

  add(span: TreeSpan): void {
    this.count += 1;
    this.#spans.push(span);
    this.#seen.add(span.spanId);
    this.#openParents.delete(span.spanId);
    if (span.parentIsLocal && span.parentId !== undefined && !this.#seen.has(span.parentId)) {
      this.#openParents.add(span.parentId);
    }
    if (span.task !== undefined) this.#follow(span, span.task);
  }

  /** Work of this trace is known to be under way. */
  get isUnfinished(): boolean {
    return this.#openParents.size + this.#openTasks.size > 0;
  }

  /** Tasks whose next attempt is expected in this trace. */
  get openTasks(): ReadonlySet<string> {
    return this.#openTasks;
  }

  /** The task runs in a trace of its own, so nothing of it will arrive here. */
  release(taskId: string): void {
    this.#openTasks.delete(taskId);
  }

  /** What has not been printed; it is gone from here, and nothing is waited for any more. */
  take(): TreeSpan[] {
    const spans = this.#spans;
    this.#spans = [];
    this.#openParents.clear();
    this.#openTasks.clear();
    return spans;
  }

  #follow(span: TreeSpan, task: NonNullable<TreeSpan["task"]>): void {
    if (task.is === "sent") return;
    if (task.is === "queued") {
      if (!this.#startedTasks.has(task.id)) this.#openTasks.add(task.id);
      return;
    }
    this.#startedTasks.add(task.id);
    // An attempt without a parent is its own trace, and so will the next one be.
    if (task.is === "waiting" && span.parentId !== undefined) this.#openTasks.add(task.id);
    else this.#openTasks.delete(task.id);
  }
}
