import type { TreeSpan } from "./span.js";

/** The spans of one trace that wait to be printed, and a memory of those that were. */
export class TreeTrace {
  readonly traceId: string;
  /** Number of spans received, printed ones included. */
  count = 0;
  /** Start of the first batch that was printed, epoch ms. */
  origin: number | undefined;
  timer: NodeJS.Timeout | undefined;
  #spans: TreeSpan[] = [];
  readonly #seen = new Set<string>();
  /** The start of each task's last attempt here, epoch ms. */
  readonly #ran = new Map<string, number>();

  constructor(traceId: string) {
    this.traceId = traceId;
  }

  add(span: TreeSpan): void {
    this.count += 1;
    this.#spans.push(span);
    this.#seen.add(span.spanId);
    if (isAttempt(span)) this.#ran.set(span.task.id, span.start);
  }

  /**
   * True where more spans are to be expected: that of a parent in this process, or those of a task whose next attempt
   * will start in this trace. `ranElsewhere` is asked whether an attempt of a task started in another trace since a
   * time.
   */
  isUnfinished(ranElsewhere: (taskId: string, since: number) => boolean): boolean {
    if (this.#spans.some((span) => this.#hasOpenParent(span))) return true;
    return [...this.#openTasks()].some(([taskId, since]) => !ranElsewhere(taskId, since));
  }

  /** True where an attempt of a task started in this trace at or after a time in epoch ms. */
  hasRun(taskId: string, since: number): boolean {
    return (this.#ran.get(taskId) ?? Number.NEGATIVE_INFINITY) >= since;
  }

  /** Takes the spans that have not been printed. */
  take(): TreeSpan[] {
    const spans = this.#spans;
    this.#spans = [];
    return spans;
  }

  #hasOpenParent({ parentIsLocal, parentId }: TreeSpan): boolean {
    return parentIsLocal && parentId !== undefined && !this.#seen.has(parentId);
  }

  // Finds the tasks whose next attempt is expected in this trace, each with the time since when, epoch ms.
  #openTasks(): Map<string, number> {
    const open = new Map<string, number>();
    for (const { task, parentId, start } of this.#spans) {
      if (task === undefined || task.is === "sent") continue;
      // an attempt without a parent is its own trace, and so will the next one be
      const next = task.is === "queued" ? !this.#ran.has(task.id) : task.is === "waiting" && parentId !== undefined;
      if (next) open.set(task.id, start);
      else if (task.is !== "queued") open.delete(task.id);
    }
    return open;
  }
}

function isAttempt(span: TreeSpan): span is TreeSpan & { task: NonNullable<TreeSpan["task"]> } {
  return span.task?.is === "waiting" || span.task?.is === "over";
}
