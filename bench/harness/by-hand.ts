// What one would write without this library. Kept as lean as it can be: it is what ours is held against.
import { AsyncLocalStorage, AsyncResource } from "node:async_hooks";
import { randomUUID } from "node:crypto";
import {
  type Attributes,
  context,
  createContextKey,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type PQueue from "p-queue";
import pRetry from "p-retry";

export interface HandmadeContext {
  readonly taskId: string;
  readonly funcName: string;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly tags: Readonly<Record<string, string>>;
}

type Tags = Readonly<Record<string, string>>;
type Add = (fn: () => unknown, tags?: Tags) => string;

const NO_TAGS: Tags = Object.freeze({});
const RETRY = { retries: 0 };

/** Context in an AsyncLocalStorage, each task in its enqueuer's asynchronous context; no telemetry. */
export function handmadeTasks(queue: PQueue): Add {
  const storage = new AsyncLocalStorage<HandmadeContext>();
  return (fn, tags) => {
    const taskId = randomUUID();
    const own = copy(tags);
    const enqueuer = new AsyncResource("task", { requireManualDestroy: true });
    const attempt = (count: number): unknown => storage.run(contextOf(taskId, fn, count - 1, own), fn);
    void queue.add(() => enqueuer.runInAsyncScope(pRetry, undefined, attempt, RETRY));
    return taskId;
  };
}

/** An enqueue span and attempt spans with this library's attributes, in OpenTelemetry's context. */
export function handmadeTracedTasks(queue: PQueue): Add {
  const tracer = trace.getTracer("by-hand");
  const key = createContextKey("by-hand");
  return (fn, tags) => {
    const taskId = randomUUID();
    const own = copy(tags);
    const attributes = attributesOf(taskId, fn.name, own);
    const active = context.active();
    const enqueued = tracer.startSpan(`enqueue ${fn.name}`, { kind: SpanKind.PRODUCER, attributes }, active);
    const base = trace.setSpan(active, enqueued);
    const dueAt = Date.now();
    const attempt = (count: number): unknown => {
      const span = tracer.startSpan(
        `process ${fn.name}`,
        {
          kind: SpanKind.CONSUMER,
          attributes: {
            ...attributesOf(taskId, fn.name, own),
            "task.attempt": count - 1,
            "task.max_attempts": 1,
            "task.wait.duration": Math.max(0, Date.now() - dueAt) / 1000,
            "code.function.name": fn.name,
          },
        },
        base,
      );
      const inside = trace.setSpan(base, span).setValue(key, contextOf(taskId, fn, count - 1, own));
      return context.with(inside, run, undefined, fn, span);
    };
    void queue.add(() => pRetry(attempt, RETRY));
    enqueued.end();
    return taskId;
  };
}

async function run(fn: () => unknown, span: Span): Promise<void> {
  try {
    await fn();
    span.setAttribute("task.outcome", "success");
  } catch (error) {
    span.setAttribute("task.outcome", "failure");
    span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
    throw error;
  } finally {
    span.end();
  }
}

function attributesOf(taskId: string, name: string, tags: Tags): Attributes {
  const attributes: Attributes = { "task.id": taskId, "task.name": name, "task.engine": "memory" };
  for (const tag in tags) attributes[`task.tag.${tag}`] = tags[tag] ?? "";
  return attributes;
}

function contextOf(taskId: string, fn: () => unknown, attempt: number, tags: Tags): HandmadeContext {
  return Object.freeze({ taskId, funcName: fn.name, attempt, maxAttempts: 1, tags });
}

function copy(tags: Tags | undefined): Tags {
  return tags === undefined ? NO_TAGS : Object.freeze({ ...tags });
}
