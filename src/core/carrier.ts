import { type Baggage, type Context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { MAX_TEXT } from "./checks.js";
import { safely, warn } from "./guard.js";
import { TASK_TAG_PREFIX } from "./semconv.js";
import { copyTags, NO_TAGS } from "./tags.js";
import type { Carrier, TaskBaggage, TaskRelation, TaskTags } from "./types.js";
import { wireCount, wireTime } from "./wire.js";

/** The carrier's one key that is this library's own; the others are the propagator's. */
const KEY = "otel-taskflow";
const VERSION = 1;
/** Sixteen tags of 1,024 characters, each of which JSON may write as six, and the rest. */
const MAX_CHARACTERS = 131_072;

/** What every attempt of a task gets from its enqueuer. */
export interface TaskOrigin {
  readonly id: string;
  readonly name: string;
  readonly tags: TaskTags;
  readonly maxAttempts: number | undefined;
  /** What its enqueuer wished for this one task: attempts after the first. It wins over the policy of who runs it. */
  readonly retries: number | undefined;
  readonly relation: TaskRelation;
  /** Epoch milliseconds. */
  readonly enqueuedAt: number | undefined;
  /** Epoch milliseconds at which the first attempt is due. */
  readonly dueAt: number | undefined;
  /** Id of the task that enqueued this one. */
  readonly parentId: string | undefined;
  /** The enqueuer's context: its enqueue span, its baggage, this task's tags as baggage. */
  readonly context: Context;
}

/** What was found on the wire; everything but the context may be missing. */
export type ExtractedOrigin = { [K in keyof TaskOrigin]?: TaskOrigin[K] | undefined } & Pick<TaskOrigin, "context"> & {
    /** Of an attempt that goes on elsewhere: which one it is. Zero-based. */
    readonly attempt?: number | undefined;
  };

/** What the global propagator injects, as strings. Never throws. */
export function injectContext(context: Context): Carrier {
  const injected: Carrier = {};
  safely("the propagator's inject", () => propagation.inject(context, injected), undefined);
  return safely("the propagator's inject", () => stringsOf(injected), {});
}

/** Writes an origin, and which attempt it is of, as strings: {@link injectContext} plus one JSON entry. Never throws. */
export function inject(origin: TaskOrigin, attempt?: number): Carrier {
  const carrier = injectContext(origin.context);
  carrier[KEY] = JSON.stringify({
    v: VERSION,
    id: origin.id,
    name: origin.name,
    max: origin.maxAttempts,
    retries: origin.retries,
    rel: origin.relation,
    at: origin.enqueuedAt,
    due: origin.dueAt,
    parent: origin.parentId,
    tags: origin.tags === NO_TAGS ? undefined : origin.tags,
    attempt,
  });
  return carrier;
}

/**
 * Reads what {@link inject} wrote, from a value that may be anything: damage goes to diag and is left out.
 * Tags come from this library's own entry only, never from baggage. Never throws.
 */
export function extract(carrier: unknown, base: Context): ExtractedOrigin {
  const strings = safely("reading the carrier", () => stringsOf(carrier), {});
  const clean = base === ROOT_CONTEXT ? base : propagation.deleteBaggage(trace.deleteSpan(base));
  const context = safely("the propagator's extract", () => checked(propagation.extract(clean, strings)), clean);
  return safely("reading the carrier", () => parse(strings[KEY], context), { context });
}

/** Which task a carrier says it was made for, whatever it is: who reads it decides what that is worth. Never throws. */
export function addressee(carrier: unknown): Pick<ExtractedOrigin, "id" | "name"> {
  try {
    const json = (carrier as Carrier)[KEY] ?? "";
    const { id, name } = json.length <= MAX_CHARACTERS ? (JSON.parse(json) as Record<string, unknown>) : {};
    return { id: text(id), name: text(name) };
  } catch {
    return {};
  }
}

/** The origin of a task that has arrived: the given facts, and where it was found, with its own tags as baggage. */
export function arrive(
  found: ExtractedOrigin,
  facts: Pick<TaskOrigin, "id" | "name" | "tags" | "maxAttempts" | "relation">,
  travelling: TaskBaggage,
): TaskOrigin {
  const { id, name, tags, maxAttempts, relation } = facts;
  const { enqueuedAt, dueAt, parentId, retries } = found;
  const context = withTagBaggage(relation === "none" ? ROOT_CONTEXT : found.context, tags, travelling);
  return { id, name, tags, maxAttempts, retries, relation, enqueuedAt, dueAt, parentId, context };
}

/** Replaces every `task.tag.*` baggage entry of a context by the given task's own, as far as they may travel. */
export function withTagBaggage(context: Context, tags: TaskTags, travelling: TaskBaggage): Context {
  try {
    return replaceTags(context, tags, travelling);
  } catch (error) {
    warn("the baggage cannot be read; going on without it", error);
    return propagation.deleteBaggage(context);
  }
}

// What a propagator returns is a Context only if it behaves like one.
function checked(context: Context): Context {
  for (const method of [context.getValue, context.setValue, context.deleteValue]) {
    if (typeof method !== "function") throw new TypeError("the propagator returned no Context");
  }
  return context;
}

function replaceTags(context: Context, tags: TaskTags, travelling: TaskBaggage): Context {
  const inherited = propagation.getBaggage(context);
  if (inherited === undefined && tags === NO_TAGS) return context;
  const own = new Map<string, string>();
  for (const key in tags) {
    const value = tags[key];
    if (value && travels(key, travelling)) own.set(TASK_TAG_PREFIX + key, value);
  }
  let baggage: Baggage | undefined = inherited;
  for (const [key, { value, metadata }] of inherited?.getAllEntries() ?? []) {
    if (!key.trim().startsWith(TASK_TAG_PREFIX)) continue;
    // what has travelled as it should may stay
    if (metadata === undefined && own.get(key) === value) own.delete(key);
    else baggage = baggage?.removeEntry(key);
  }
  for (const [key, value] of own) baggage = (baggage ?? propagation.createBaggage()).setEntry(key, { value });
  return baggage === inherited || baggage === undefined ? context : propagation.setBaggage(context, baggage);
}

function travels(key: string, travelling: TaskBaggage): boolean {
  return typeof travelling === "boolean" ? travelling : travelling.includes(key);
}

function stringsOf(carrier: unknown): Carrier {
  if (typeof carrier !== "object" || carrier === null) return {};
  const strings: Carrier = {};
  for (const [key, value] of Object.entries(carrier)) if (typeof value === "string") strings[key] = value;
  return strings;
}

function parse(json: string | undefined, context: Context): ExtractedOrigin {
  if (json === undefined) return { context };
  const wire: unknown = json.length <= MAX_CHARACTERS ? JSON.parse(json) : undefined;
  if (typeof wire !== "object" || wire === null || (wire as { v?: unknown }).v !== VERSION) {
    warn("the carrier's entry is not of a known version; starting without it");
    return { context };
  }
  const { id, name, max, retries, rel, at, due, parent, tags, attempt } = wire as Record<string, unknown>;
  return {
    id: text(id),
    name: text(name),
    maxAttempts: wireCount(max) || undefined,
    retries: wireCount(retries),
    relation: rel === "parent" || rel === "link" || rel === "none" ? rel : undefined,
    enqueuedAt: wireTime(at),
    dueAt: wireTime(due),
    parentId: text(parent),
    tags: safely("reading the carrier's tags", () => copyTags(tags), NO_TAGS),
    attempt: wireCount(attempt),
    context,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= MAX_TEXT ? value : undefined;
}
