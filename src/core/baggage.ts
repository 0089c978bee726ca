import { type Baggage, type BaggageEntry, type Context, propagation } from "@opentelemetry/api";
import { warn } from "./guard.js";
import { ATTR_TASK_ID, TASK_TAG_PREFIX } from "./semconv.js";
import { NO_TAGS } from "./tags.js";
import { cut } from "./text.js";
import type { TaskBaggage, TaskTags } from "./types.js";

/** Most bytes of the task's own baggage entries, percent-encoded. */
const MAX_OWN_BYTES = 2_048;
/** Most characters of one such entry's value. */
const MAX_OWN_VALUE = 256;
/** Most baggage entries of others: W3C's propagator sends no more. */
const MAX_FOREIGN = 180;
/** Matches text that percent-encoding leaves as it is. */
const PLAIN = /^[\w.~-]*$/;

type Entry = [key: string, entry: BaggageEntry];

/** A task's baggage, whose entries are made when somebody asks for them: most tasks' never are. */
class OwnBaggage implements Baggage {
  readonly #tags: TaskTags;
  readonly #travelling: TaskBaggage;
  /** Entries of others, which follow the task's own. */
  readonly foreign: Entry[];
  #made: Baggage | undefined;
  /** As of attempts, one stays alive. */
  static readonly kept: object = new OwnBaggage(NO_TAGS, true, []);

  constructor(tags: TaskTags, travelling: TaskBaggage, foreign: Entry[]) {
    this.#tags = tags;
    this.#travelling = travelling;
    this.foreign = foreign;
  }

  getEntry(key: string): BaggageEntry | undefined {
    return this.#baggage().getEntry(key);
  }

  // The own entries stand before foreign ones, which therefore cannot crowd them out of what a propagator sends.
  getAllEntries(): Entry[] {
    return [...ownEntries(this.#tags, this.#travelling), ...this.foreign];
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
export function withTagBaggage(context: Context, tags: TaskTags, travelling: TaskBaggage): Context {
  const travel = travelling === false ? NO_TAGS : tags;
  const withOwn = (foreign: Entry[]): Context =>
    propagation.setBaggage(context, new OwnBaggage(travel, travelling, foreign));
  try {
    const inherited = propagation.getBaggage(context);
    if (inherited instanceof OwnBaggage) return withOwn(inherited.foreign);
    const entries = inherited?.getAllEntries() ?? [];
    const foreign = entries.filter(isForeign);
    const isClean = travel === NO_TAGS && foreign.length === entries.length;
    return isClean ? context : withOwn(foreign.slice(0, MAX_FOREIGN));
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

// An entry that does not fit is left out, and those after it may still travel.
function ownEntries(tags: TaskTags, travelling: TaskBaggage): Entry[] {
  const entries: Entry[] = [];
  let room = MAX_OWN_BYTES;
  for (const tag of Object.keys(tags)) {
    const value = baggageValue(tags[tag]);
    const key = TASK_TAG_PREFIX + tag;
    // the entry's equals sign, and its comma
    const bytes = key.length + encodedLength(value) + 2;
    const travels = travelling === true || (travelling !== false && travelling.includes(tag));
    if (value === "" || bytes > room || !travels) continue;
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

function isForeign([key]: Entry): boolean {
  const name = key.trim();
  return !name.startsWith(TASK_TAG_PREFIX) && name !== ATTR_TASK_ID;
}
