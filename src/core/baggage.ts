import { type Baggage, type BaggageEntry, type Context, propagation } from "@opentelemetry/api";
import type { ExtractedOrigin } from "./carrier.js";
import { warn } from "./guard.js";
import { ATTR_TASK_ID, TASK_TAG_PREFIX } from "./semconv.js";
import { NO_TAGS } from "./tags.js";
import { cut } from "./text.js";
import type { TaskTags } from "./types.js";

/** Most bytes of the task's own baggage entries, percent-encoded. */
const MAX_OWN_BYTES = 2_048;
/** Most characters of one such entry's value. */
const MAX_OWN_VALUE = 256;
/** Most baggage entries of others: W3C's propagator sends no more. */
const MAX_FOREIGN = 180;
/** Matches text that percent-encoding leaves as it is. */
const PLAIN = /^[\w.~-]*$/;

type Entry = [key: string, entry: BaggageEntry];

/** What of a task may travel. */
export interface Travelling {
  readonly tags: boolean | readonly string[];
  readonly id: boolean;
}

/** The part of a task that may travel. */
interface Traveller {
  readonly id: string;
  readonly tags: TaskTags;
}

const NOBODY: Traveller = { id: "", tags: NO_TAGS };
const NOTHING: Travelling = { tags: false, id: false };
const NO_ENTRIES: Entry[] = [];

/** A task's baggage, whose entries are made when somebody asks for them: most tasks' never are. */
class OwnBaggage implements Baggage {
  // not the task itself, which would then live as long as its context does
  readonly #id: string;
  readonly #tags: TaskTags;
  readonly #travelling: Travelling;
  /** Entries of others, which follow the task's own. */
  readonly foreign: Entry[];
  #made: Baggage | undefined;
  /** As of attempts, one stays alive. */
  static readonly kept: object = new OwnBaggage(NOBODY, NOTHING, []);

  constructor({ id, tags }: Traveller, travelling: Travelling, foreign: Entry[]) {
    this.#id = id;
    this.#tags = tags;
    this.#travelling = travelling;
    this.foreign = foreign;
  }

  getEntry(key: string): BaggageEntry | undefined {
    return this.#baggage().getEntry(key);
  }

  // The own entries stand before foreign ones, which therefore cannot crowd them out of what a propagator sends.
  getAllEntries(): Entry[] {
    return [...ownEntries({ id: this.#id, tags: this.#tags }, this.#travelling), ...this.foreign];
  }

  setEntry(key: string, entry: BaggageEntry): Baggage {
    return this.#baggage().setEntry(key, entry);
  }

  removeEntry(key: string): Baggage {
    return this.#baggage().removeEntry(key);
  }

  removeEntries(...keys: string[]): Baggage {
    return this.#baggage().removeEntries(...keys);
  }

  clear(): Baggage {
    return this.#baggage().clear();
  }

  #baggage(): Baggage {
    this.#made ??= propagation.createBaggage(Object.fromEntries(this.getAllEntries()));
    return this.#made;
  }
}

/** Replaces every baggage entry that claims to be a task's by the given task's own, as far as these may travel. */
export function withTaskBaggage(context: Context, task: Traveller, travelling: Travelling): Context {
  const withOwn = (foreign: Entry[]): Context =>
    propagation.setBaggage(context, new OwnBaggage(task, travelling, foreign));
  try {
    const inherited = propagation.getBaggage(context);
    if (inherited instanceof OwnBaggage) return withOwn(inherited.foreign);
    const isAlone = !travelling.id && (travelling.tags === false || task.tags === NO_TAGS);
    if (inherited === undefined) return isAlone ? context : withOwn(NO_ENTRIES);
    const entries = inherited.getAllEntries();
    const foreign = entries.filter(isForeign);
    const isClean = isAlone && foreign.length === entries.length;
    return isClean ? context : withOwn(foreign.slice(0, MAX_FOREIGN));
  } catch (error) {
    warn("the baggage cannot be read", error);
    return propagation.deleteBaggage(context);
  }
}

/** Keeps the foreign entries of a context's baggage alone: none of them claims to be a task's. */
export function withForeignBaggage(context: Context): Context {
  return withTaskBaggage(context, NOBODY, NOTHING);
}

/** Keeps the foreign entries of an arrived context's baggage, and those that have travelled as its task's own. */
export function withOwnBaggage({ context, id = "", tags = NO_TAGS }: ExtractedOrigin): Context {
  const has = (key: string, value: string): boolean => propagation.getBaggage(context)?.getEntry(key)?.value === value;
  const travelled = Object.keys(tags).filter((key) => has(TASK_TAG_PREFIX + key, baggageValue(tags[key])));
  return withTaskBaggage(context, { id, tags }, { tags: travelled, id: has(ATTR_TASK_ID, baggageValue(id)) });
}

// An entry that does not fit is left out, and those after it may still travel.
function ownEntries({ id, tags }: Traveller, travelling: Travelling): Entry[] {
  const entries: Entry[] = [];
  let room = MAX_OWN_BYTES;
  const add = (key: string, text: string | undefined): void => {
    const value = baggageValue(text);
    // the entry's equals sign, and its comma
    const bytes = key.length + encodedLength(value) + 2;
    if (value === "" || bytes > room) return;
    room -= bytes;
    entries.push([key, { value }]);
  };
  if (travelling.id) add(ATTR_TASK_ID, id);
  const { tags: some } = travelling;
  for (const tag of Object.keys(tags)) {
    if (some === true || (some !== false && some.includes(tag))) add(TASK_TAG_PREFIX + tag, tags[tag]);
  }
  return entries;
}

function baggageValue(tag: string | undefined): string {
  return cut(tag ?? "", MAX_OWN_VALUE);
}

function encodedLength(value: string): number {
  return PLAIN.test(value) ? value.length : encodeURIComponent(value).length;
}

// Some propagators make headers of keys, whose names have no case.
function isForeign([key]: Entry): boolean {
  const name = key.trim().toLowerCase();
  return !name.startsWith(TASK_TAG_PREFIX) && name !== ATTR_TASK_ID;
}
