import { AsyncResource } from "node:async_hooks";
import { type BaggageEntry, type Context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { isRelation, MAX_TEXT } from "./checks.js";
import { activeContext, isContext, withContext } from "./context.js";
import { atOnce, safely, warn } from "./guard.js";
import { ATTR_TASK_ID, TASK_TAG_PREFIX } from "./semconv.js";
import { registeredApi } from "./slot.js";
import { copyTags, NO_TAGS } from "./tags.js";
import { cut } from "./text.js";
import type { Carrier, TaskBaggage, TaskRelation, TaskTags } from "./types.js";
import { fieldsOf, wireCount, wireTime } from "./wire.js";

/** The carrier's one key that is this library's own; the others are the propagator's. */
const KEY = "otel-taskflow";
const VERSION = 1;
/** Longest entry that is read: sixteen tags of 1,024 characters, each of which JSON may write as six, and the rest. */
const MAX_CHARACTERS = 131_072;
/** Most entries that a propagator may write. */
const MAX_ENTRIES = 128;
/** Most bytes of the task's own baggage entries, percent-encoded. */
const MAX_OWN_BYTES = 2_048;
/** Most characters of one such entry's value. */
const MAX_OWN_VALUE = 256;
/** Most baggage entries of others: W3C's propagator sends no more. */
const MAX_FOREIGN = 180;
/** Matches text that percent-encoding leaves as it is. */
const PLAIN = /^[\w.~-]*$/;

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
  /** The enqueuer's context, which holds its enqueue span, its baggage and this task's tags as baggage. */
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

/** Makes the origin of a task that has arrived from the given facts and the found context, with its tags as baggage. */
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

/**
 * Replaces every baggage entry that claims to be a task's by the given task's own, as far as these may travel. They
 * stand before foreign ones, which therefore cannot crowd them out of what a propagator sends.
 */
export function withTagBaggage(context: Context, tags: TaskTags, travelling: TaskBaggage): Context {
  try {
    return replaceTags(context, tags, (key) =>
      typeof travelling === "boolean" ? travelling : travelling.includes(key),
    );
  } catch (error) {
    warn("the baggage cannot be read", error);
    return propagation.deleteBaggage(context);
  }
}

/** Keeps the foreign entries of a context's baggage, and those that have travelled as the given task's own. */
export function withOwnBaggage(context: Context, tags: TaskTags): Context {
  const travelled = Object.keys(tags).filter((key) => {
    const entry = propagation.getBaggage(context)?.getEntry(TASK_TAG_PREFIX + key);
    return entry !== undefined && entry.value === baggageValue(tags[key]);
  });
  return withTagBaggage(context, tags, travelled);
}

// A propagator may return anything, and only what behaves like a Context is one.
function checked(context: Context): Context {
  if (isContext(context)) return context;
  throw new TypeError("the propagator returned no Context");
}

function replaceTags(context: Context, tags: TaskTags, travels: (key: string) => boolean): Context {
  const inherited = propagation.getBaggage(context);
  if (inherited === undefined && tags === NO_TAGS) return context;
  const entries = inherited?.getAllEntries() ?? [];
  const own = ownEntries(tags, travels);
  const foreign = entries.filter(([key]) => !isOurs(key));
  if (own.length === 0 && foreign.length === entries.length) return context;
  let baggage = propagation.createBaggage(Object.fromEntries(own));
  for (const [key, entry] of foreign.slice(0, MAX_FOREIGN)) baggage = baggage.setEntry(key, entry);
  return propagation.setBaggage(context, baggage);
}

// An entry that does not fit is left out, and those after it may still travel.
function ownEntries(tags: TaskTags, travels: (key: string) => boolean): [string, BaggageEntry][] {
  const entries: [string, BaggageEntry][] = [];
  let room = MAX_OWN_BYTES;
  for (const tag of Object.keys(tags)) {
    const value = baggageValue(tags[tag]);
    const key = TASK_TAG_PREFIX + tag;
    // the entry's equals sign, and its comma
    const bytes = key.length + encodedLength(value) + 2;
    if (value === "" || bytes > room || !travels(tag)) continue;
    room -= bytes;
    entries.push([key, { value }]);
  }
  return entries;
}

function baggageValue(tag: string | undefined): string {
  return cut(tag ?? "", MAX_OWN_VALUE);
}

function encodedLength(value: string): number {
  return PLAIN.test(value) ? value.length : encodeURIComponent(value).length;
}

function isOurs(key: string): boolean {
  const name = key.trim();
  return name.startsWith(TASK_TAG_PREFIX) || name === ATTR_TASK_ID;
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
  if (places < 0 || room < 0) warn("a carrier is too large; going on with a part of it");
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
    tags: safely("reading the carrier's tags", () => copyTags(tags), NO_TAGS),
    attempt: wireCount(attempt),
    context,
  };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" && value.length <= MAX_TEXT ? value : undefined;
}
