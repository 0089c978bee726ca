import { AsyncResource } from "node:async_hooks";
import { type Context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { isRelation, MAX_TEXT } from "./checks.js";
import { activeContext, isContext, withContext } from "./context.js";
import { atOnce, safely, warn } from "./guard.js";
import { registeredApi } from "./slot.js";
import { copyTags, NO_TAGS } from "./tags.js";
import type { Carrier, TaskRelation, TaskTags } from "./types.js";
import { fieldsOf, wireCount, wireTime } from "./wire.js";

/** The carrier's one key that is this library's own; the others are the propagator's. */
const KEY = "otel-taskflow";
const VERSION = 1;
/** Longest entry that is read: sixteen tags of 1,024 characters, each of which JSON may write as six, and the rest. */
const MAX_CHARACTERS = 131_072;
/** Most entries that a propagator may write. */
const MAX_ENTRIES = 128;

/** The facts that every attempt of a task gets from its enqueuer. */
export interface TaskOrigin {
  readonly id: string;
  readonly name: string;
  readonly tags: TaskTags;
  readonly maxAttempts: number | undefined;
  /**
   * Attempts after the first, as its enqueuer wished for this one task. The wish wins over the policy of who runs it.
   */
  readonly retries: number | undefined;
  readonly relation: TaskRelation;
  /** Epoch milliseconds. */
  readonly enqueuedAt: number | undefined;
  /** Epoch milliseconds at which the first attempt is due. */
  readonly dueAt: number | undefined;
  /** Id of the task that enqueued this one. */
  readonly parentId: string | undefined;
  /** The enqueuer's context, which holds its enqueue span and its baggage; on its way into a carrier, the tags as well. */
  readonly context: Context;
}

/** The part of an origin that was found on the wire; everything but the context may be missing. */
export type ExtractedOrigin = { [K in keyof TaskOrigin]?: TaskOrigin[K] | undefined } & Pick<TaskOrigin, "context"> & {
    /** Number of the attempt that goes on elsewhere, zero-based. */
    readonly attempt?: number | undefined;
  };

/** Lets the global propagator inject a context, and returns what it wrote, as strings. Never throws. */
export function injectContext(within: Context): Carrier {
  const injected: Carrier = {};
  const inject = (from: Context): unknown =>
    atOnce("the propagator's inject", () => propagation.inject(from, injected));
  if (registeredApi()?.context === undefined || within === activeContext()) inject(within);
  else inside(within, () => inject(activeContext()));
  return safely("the propagator's inject", () => stringsOf(injected), {});
}

// Some propagators inject the active context only, so the given one is made active; some context managers then leave
// its baggage active in the asynchronous resource they are called in, so this happens in one of its own.
function inside(within: Context, fn: () => void): void {
  const resource = new AsyncResource("otel-taskflow.inject", { requireManualDestroy: true });
  resource.runInAsyncScope(() => withContext(within, fn));
}

/** Writes what is known of an origin as strings: {@link injectContext} plus one JSON entry. Never throws. */
export function inject(origin: ExtractedOrigin): Carrier {
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
    attempt: origin.attempt,
  });
  return carrier;
}

/**
 * Reads an origin that {@link inject} wrote, from a value that may be anything: damage goes to diag and is left out.
 * Tags are read from this library's own entry only, never from baggage. Never throws.
 */
export function extract(carrier: unknown, base: Context): ExtractedOrigin {
  const clean = base === ROOT_CONTEXT ? base : propagation.deleteBaggage(trace.deleteSpan(base));
  if (carrier === undefined) return { context: clean };
  const strings = safely("reading the carrier", () => stringsOf(carrier), {});
  const context = safely("the propagator's extract", () => checked(propagation.extract(clean, strings)), clean);
  return safely("reading the carrier", () => parse(strings[KEY], context), { context });
}

/** Reads which task a carrier says it was made for; the caller decides what that is worth. Never throws. */
export function addressee(carrier: unknown): Pick<ExtractedOrigin, "id" | "name"> {
  try {
    // a value that is no object of strings throws below, or names nothing
    const json = (carrier as Carrier)[KEY] ?? "";
    const { id, name } = json.length <= MAX_CHARACTERS ? fieldsOf(JSON.parse(json)) : {};
    return { id: text(id), name: text(name) };
  } catch {
    return {};
  }
}

/** Makes the origin of a task that has arrived from the given facts and the found context. */
export function arrive(
  found: ExtractedOrigin,
  facts: Pick<TaskOrigin, "id" | "name" | "tags" | "maxAttempts" | "relation">,
): TaskOrigin {
  const { id, name, tags, maxAttempts, relation } = facts;
  const { enqueuedAt, dueAt, parentId, retries } = found;
  const context = relation === "none" ? ROOT_CONTEXT : found.context;
  return { id, name, tags, maxAttempts, retries, relation, enqueuedAt, dueAt, parentId, context };
}

/** Whether it is a carrier of this library's, which says the task's tags. It may be anything. */
export function isOwnCarrier(carrier: unknown): boolean {
  return typeof fieldsOf(carrier)[KEY] === "string";
}

// A propagator may return anything, and only what behaves like a Context is one.
function checked(context: Context): Context {
  if (isContext(context)) return context;
  throw new TypeError("the propagator returned no Context");
}

// The number and length of entries are bounded before they are read. A list, a buffer or any other collection is no
// carrier, however many strings it holds.
function stringsOf(carrier: unknown): Carrier {
  const strings: Carrier = {};
  const given = fieldsOf(carrier);
  if (Symbol.iterator in given) return strings;
  let room = MAX_CHARACTERS;
  let places = MAX_ENTRIES;
  for (const key of Object.keys(given)) {
    const value = given[key];
    if (typeof value !== "string") continue;
    if (key !== KEY) {
      places -= 1;
      room -= key.length + value.length;
      if (places < 0 || room < 0) continue;
    }
    strings[key] = value;
  }
  if (places < 0 || room < 0) warn("a carrier is too large: a part of it is read");
  return strings;
}

function parse(json: string | undefined, context: Context): ExtractedOrigin {
  if (json === undefined) return { context };
  const { v, id, name, max, retries, rel, at, due, parent, tags, attempt } =
    json.length <= MAX_CHARACTERS ? fieldsOf(JSON.parse(json)) : {};
  if (v !== VERSION) {
    warn("the carrier is of no known version");
    return { context };
  }
  return {
    id: text(id),
    name: text(name),
    maxAttempts: wireCount(max) || undefined,
    retries: wireCount(retries),
    relation: isRelation(rel) ? rel : undefined,
    enqueuedAt: wireTime(at),
    dueAt: wireTime(due),
    parentId: text(parent),
    tags: safely("reading the carrier", () => copyTags(tags), NO_TAGS),
    attempt: wireCount(attempt),
    context,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= MAX_TEXT ? value : undefined;
}
