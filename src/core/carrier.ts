import { AsyncResource } from "node:async_hooks";
import { type BaggageEntry, type Context, propagation, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { MAX_TEXT } from "./checks.js";
import { activeContext, isContext, withContext } from "./context.js";
import { atOnce, safely, warn } from "./guard.js";
import { ATTR_TASK_ID, TASK_TAG_PREFIX } from "./semconv.js";
import { registeredApi } from "./slot.js";
import { copyTags, NO_TAGS } from "./tags.js";
import { cut } from "./text.js";
import type { Carrier, TaskBaggage, TaskRelation, TaskTags } from "./types.js";
import { wireCount, wireTime } from "./wire.js";

/** The carrier's one key that is this library's own; the others are the propagator's. */
const KEY = "otel-taskflow";
const VERSION = 1;
/** Sixteen tags of 1,024 characters, each of which JSON may write as six, and the rest. */
const MAX_CHARACTERS = 131_072;
/** What a propagator may write. */
const MAX_ENTRIES = 128;
/** Of the task's own baggage entries, percent-encoded. */
const MAX_OWN_BYTES = 2_048;
const MAX_OWN_VALUE = 256;
/** As many as W3C's propagator sends at most. */
const MAX_FOREIGN = 180;
/** What percent-encoding leaves as it is. */
const PLAIN = /^[\w.~-]*$/;

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
export function injectContext(within: Context): Carrier {
  const injected: Carrier = {};
  const inject = (from: Context): unknown =>
    atOnce("the propagator's inject", () => propagation.inject(from, injected));
  if (registeredApi()?.context === undefined || within === activeContext()) inject(within);
  else inside(within, () => inject(activeContext()));
  return safely("the propagator's inject", () => stringsOf(injected), {});
}

// Some propagators inject what is active and nothing else, which some managers make anew of what they are given.
// In a resource of its own: some managers leave the baggage active in the one they are called in.
function inside(within: Context, fn: () => void): void {
  const resource = new AsyncResource("otel-taskflow.inject", { requireManualDestroy: true });
  resource.runInAsyncScope(() => withContext(within, fn));
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
  const clean = base === ROOT_CONTEXT ? base : propagation.deleteBaggage(trace.deleteSpan(base));
  if (carrier === undefined) return { context: clean };
  const strings = safely("reading the carrier", () => stringsOf(carrier), {});
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

/**
 * Replaces every baggage entry of a context that claims to be a task's by the given task's own, as far as they may
 * travel. They stand before foreign ones, which cannot crowd them out of what a propagator sends.
 */
export function withTagBaggage(context: Context, tags: TaskTags, travelling: TaskBaggage): Context {
  try {
    return replaceTags(context, tags, (key) =>
      typeof travelling === "boolean" ? travelling : travelling.includes(key),
    );
  } catch (error) {
    warn("the baggage cannot be read; going on without it", error);
    return propagation.deleteBaggage(context);
  }
}

/** Keeps of a context's baggage what is foreign, and what has travelled as the given task's own. */
export function withOwnBaggage(context: Context, tags: TaskTags): Context {
  const travelled = Object.keys(tags).filter((key) => {
    const entry = propagation.getBaggage(context)?.getEntry(TASK_TAG_PREFIX + key);
    return entry !== undefined && entry.value === baggageValue(tags[key]);
  });
  return withTagBaggage(context, tags, travelled);
}

// What a propagator returns is a Context only if it behaves like one.
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
  // what has travelled as it should may stay
  if (entries.length === own.length + foreign.length && own.every((entry, place) => isSame(entry, entries[place]))) {
    return context;
  }
  let baggage = propagation.createBaggage(Object.fromEntries(own));
  for (const [key, entry] of foreign.slice(0, MAX_FOREIGN)) baggage = baggage.setEntry(key, entry);
  return propagation.setBaggage(context, baggage);
}

// What does not fit is left out, and what comes after it may still travel.
function ownEntries(tags: TaskTags, travels: (key: string) => boolean): [string, BaggageEntry][] {
  const entries: [string, BaggageEntry][] = [];
  let room = MAX_OWN_BYTES;
  for (const tag of Object.keys(tags)) {
    const value = baggageValue(tags[tag]);
    const key = TASK_TAG_PREFIX + tag;
    // an equals sign and a comma
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

function isSame([key, { value }]: [string, BaggageEntry], other: [string, BaggageEntry] | undefined): boolean {
  return other !== undefined && other[0] === key && other[1].value === value && other[1].metadata === undefined;
}

// Bounded before it is read. A list, a buffer or any other collection is no carrier, however many strings it holds.
function stringsOf(carrier: unknown): Carrier {
  const strings: Carrier = {};
  if (typeof carrier !== "object" || carrier === null || Symbol.iterator in carrier) return strings;
  let room = MAX_CHARACTERS;
  let places = MAX_ENTRIES;
  for (const key of Object.keys(carrier)) {
    const value = (carrier as Record<string, unknown>)[key];
    if (typeof value !== "string") continue;
    if (key !== KEY) {
      places -= 1;
      room -= key.length + value.length;
      if (places < 0 || room < 0) continue;
    }
    strings[key] = value;
  }
  if (places < 0 || room < 0) warn("a carrier holds more than any propagator needs; going on with a part of it");
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
