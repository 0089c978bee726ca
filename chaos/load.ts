// The tasks: each notes what it sees, fails as it was told, and adds others.
import { setTimeout as wait } from "node:timers/promises";
import {
  type AddTaskOptions,
  getTaskContext,
  NonRetryableError,
  type TaskManager,
  type TaskOptions,
} from "otel-taskflow";
import { type Journal, saidBy } from "./journal.js";
import type { ProcessSettings } from "./kinds.js";

/** A task's one argument: what it is to do. */
export interface Work {
  /** Its number, which its tag `n` has as well. */
  readonly n: string;
  readonly kind: TaskKind;
  readonly ms: number;
  /** It stops when its signal aborts. */
  readonly listens: boolean;
  /** Attempts that fail. */
  readonly fails?: number;
  readonly refuses?: boolean;
  /** Tasks that it adds. */
  readonly adds?: number;
  /** Its worker may cancel it. */
  readonly unwanted?: boolean;
  /** ms for which it holds the event loop. */
  readonly blocks?: number;
}

export type TaskKind = "quick" | "slow" | "flaky" | "doomed" | "refuses" | "parent" | "timed" | "new";

export interface Load {
  /** Adds a task, and notes how that went; its id where it was accepted. Never rejects. */
  add(work: Work, options?: AddTaskOptions): Promise<string | undefined>;
  /** Cancels a task, and notes the answer. */
  cancel(id: string): Promise<void>;
  /** Ids of tasks that run here and may be cancelled. */
  unwanted(): string[];
}

export function createLoad(
  tasks: TaskManager,
  { note }: Journal,
  { deployed }: Pick<ProcessSettings, "deployed">,
): Load {
  const running = new Map<string, Work>();
  const registered = Object.fromEntries(
    policies(deployed).map(([name, options]) => [
      name,
      tasks.task({ name, ...options }, (work: Work) => perform(work)),
    ]),
  );

  async function perform(work: Work): Promise<string> {
    const { taskId: id = "", attempt = -1, tags = {}, funcName, signal } = getTaskContext() ?? {};
    const about = { id, attempt, n: work.n };
    const wrong =
      tags.n === work.n && tags.kind === work.kind && funcName === work.kind ? undefined : `${funcName} ${tags.n}`;
    note({ e: "started", ...about, wrong });
    running.set(id, work);
    let how = "returned";
    try {
      await spend(work, work.listens ? signal : undefined, () => addChildren(work, id, attempt));
      if (work.refuses) throw new NonRetryableError(`${work.n} refuses`);
      if (attempt < (work.fails ?? 0)) throw new Error(`${work.n} fails at ${attempt}`);
      return work.n;
    } catch (error) {
      how = error instanceof Error && error.name === "AbortError" ? "aborted" : "threw";
      throw error;
    } finally {
      running.delete(id);
      const now = getTaskContext()?.taskId;
      note({ e: "ended", ...about, how, wrong: now === id ? undefined : `another context: ${now}` });
    }
  }

  async function addChildren({ adds = 0, n }: Work, id: string, attempt: number): Promise<void> {
    for (let index = 0; index < adds; index += 1) {
      const child = `${n}.${attempt}.${index}.${crypto.randomUUID().slice(0, 8)}`;
      const options = index % 2 === 0 ? {} : { taskId: `${id}/${child}` };
      await add({ n: child, kind: "quick", ms: 20, listens: false }, options);
    }
  }

  async function add(work: Work, options: AddTaskOptions = {}): Promise<string | undefined> {
    const { n, kind } = work;
    const start = performance.now();
    try {
      const task = registered[kind];
      if (task === undefined) throw new Error(`this process lacks the task ${kind}`);
      const id = await tasks.addTask(task, [work], { ...options, tags: { n, kind } });
      note({ e: "enqueued", id, n, kind, ms: Math.round(performance.now() - start) });
      return id;
    } catch (error) {
      const { stored } = error as { stored?: unknown };
      note({
        e: "refused",
        n,
        ...(options.taskId !== undefined && { id: options.taskId }),
        stored,
        error: saidBy(error),
      });
      return undefined;
    }
  }

  return {
    add,
    async cancel(id) {
      const start = performance.now();
      const answer = await tasks.cancel(id);
      note({ e: "cancelled", id, answer, ms: Math.round(performance.now() - start) });
    },
    unwanted: () => [...running].flatMap(([id, work]) => (work.unwanted ? [id] : [])),
  };
}

function policies(deployed: ProcessSettings["deployed"]): [TaskKind, TaskOptions][] {
  const more = deployed === "policy" ? 2 : 0;
  const waits = deployed === "policy" ? { delay: 400 } : { delay: 150, backoff: 1.5, jitter: 0.2 };
  const all: [TaskKind, TaskOptions][] = [
    ["quick", {}],
    ["slow", { retries: 1 + more, ...waits }],
    ["flaky", { retries: 3 + more, ...waits }],
    ["doomed", { retries: 1, ...waits }],
    ["refuses", { retries: 5, ...waits }],
    ["parent", { retries: 2 + more, ...waits }],
    ["timed", { retries: 1, timeout: 400, delay: 50 }],
    ["new", { retries: 1 + more, ...waits }],
  ];
  return deployed === "without" ? all.filter(([kind]) => kind !== "new") : all;
}

async function spend(
  { ms, blocks = 0 }: Work,
  signal: AbortSignal | undefined,
  halfway: () => Promise<void>,
): Promise<void> {
  const until = performance.now() + blocks;
  while (performance.now() < until);
  await wait(ms / 2, undefined, { signal });
  await halfway();
  await wait(ms / 2, undefined, { signal });
}
