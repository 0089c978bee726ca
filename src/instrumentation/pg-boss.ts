import { BY_HAND, type Door, type DoorOptions, doorOf } from "../adapters/door.js";
import { addThrough, type NewJob, publishThrough, sendThrough } from "../adapters/pg-boss-add.js";
import { type BatchHandler, workerOf } from "../adapters/pg-boss-batch.js";
import { columnOf, withColumn } from "../adapters/pg-boss-column.js";
import { keepCarriers } from "../adapters/pg-boss-job.js";
import { checkKeys, checkObject, namesOf, show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { quietly, safely, warn } from "../core/guard.js";
import { fieldsOf } from "../core/wire.js";
import { isOwnCall } from "../engines/pg-boss/library.js";
import { exportOf, type Gate, type Method, named, openFor, ownerOf, type Wrap, wrapMethod } from "./patch.js";
import { noteWrapped } from "./unwrapped.js";

/** Where an older pg-boss, which has no place for it, is to put a carrier. */
export interface PgBossOptions {
  /** One key more of a job's data, where the instance has no trace column of this library's. */
  readonly carrier: "data";
}

/** The settings of {@link withTasks}. */
export interface PgBossDoorOptions extends DoorOptions {
  /** Default: such jobs get an enqueue span and no carrier. */
  readonly pgBoss?: PgBossOptions | undefined;
}

// whatever pg-boss's own methods take
type Given = readonly unknown[];
type Class = new (...args: unknown[]) => object;

/** How a call of a producer that makes one job was written. */
interface Sending extends NewJob {
  /** The arguments of the same call with another job. */
  argsOf(job: NewJob): Given;
}

/** The methods that are wrapped. A version of pg-boss may have no flow and no upsert. */
const WRAPS: Readonly<Record<string, Wrap>> = {
  send: sending,
  sendAfter: sending,
  sendThrottled: sending,
  sendDebounced: sending,
  upsert: (original, door) => sending(original, door, true),
  insert: inserting,
  flow: flowing,
  publish: publishing,
  work: working,
  fetch: fetching,
};
/** Each version has these; a class of a mock may have none at all. */
const IN_ANY_VERSION = ["send", "insert", "publish", "work", "fetch"];
/** Leads from pg-boss's class to what has taken its place. All copies of this package know it. */
const REPLACEMENT: unique symbol = Symbol.for("otel-taskflow.pg-boss-class.1");

const WITHOUT_OPTIONS: Gate = Object.freeze({ door: () => BY_HAND, isLast: true });
const OPTIONS = namesOf<PgBossOptions>({ carrier: true });

/**
 * Makes tasks of all jobs of pg-boss, with no change to a call site: every way to make a job gets an enqueue span and a
 * carrier, as `sendJob` does, and each job that a worker runs is an attempt. A batch stays one call of its handler. The
 * carrier goes into pg-boss's own trace column, so that data is what was sent. Methods are wrapped in place; the class
 * itself cannot be, so this returns a module whose `PgBoss` is to be used instead: only its instances have the column.
 * It may be called again: nothing is wrapped twice, and the newest options decide; without options it changes none.
 *
 * @throws TaskConfigError for an option that is unknown or out of range.
 */
export function withTasks<Module extends object>(pgBoss: Module, options?: PgBossDoorOptions): Module {
  checkObject("withTasks(): its module", pgBoss);
  noteWrapped("pg-boss");
  return patchPgBoss(pgBoss, options === undefined ? WITHOUT_OPTIONS : gateOf(options));
}

function gateOf({ pgBoss, ...options }: PgBossDoorOptions): Gate {
  const door = withPlace(doorOf("withTasks()", options), pgBoss);
  return { door: () => door };
}

/**
 * A door by which pg-boss's carriers go where `options` say.
 *
 * @throws TaskConfigError for options that are out of range.
 */
export function withPlace(door: Door, options: unknown): Door {
  if (options === undefined || typeof options === "boolean") return door;
  checkObject("pgBoss", options);
  checkKeys("pgBoss", fieldsOf(options), OPTIONS);
  const { carrier } = fieldsOf(options);
  if (carrier !== "data") throw new TaskConfigError(`carrier: expected "data", received ${show(carrier)}`);
  return Object.freeze({ ...door, carrierIn: carrier });
}

/** Wraps pg-boss's class, and puts another in its place; where a module cannot be changed, returns one instead of it. */
export function patchPgBoss<Module extends object>(module: Module, gate: Gate): Module {
  const Found = exportOf(module, "PgBoss");
  if (typeof Found !== "function" || IN_ANY_VERSION.every((method) => ownerOf(Found, method) === undefined))
    return module;
  if (IN_ANY_VERSION.some((method) => ownerOf(Found, method) === undefined)) {
    warn("this version of pg-boss stays as it is: it has other methods than those known here");
    return module;
  }
  for (const [method, wrap] of Object.entries(WRAPS)) wrapMethod(Found, method, gate, wrap);
  const PgBoss = replacementOf(Found as Class & { [REPLACEMENT]?: Class });
  if (PgBoss === Found) return module;
  Reflect.set(module, "PgBoss", PgBoss);
  return Reflect.get(module, "PgBoss") === PgBoss ? module : { ...module, PgBoss };
}

// Subclasses and `instanceof` see no difference.
function replacementOf(PgBoss: Class & { [REPLACEMENT]?: Class }): Class {
  const known = PgBoss[REPLACEMENT];
  // a subclass has the one of its base as well
  if (known !== undefined && Object.hasOwn(PgBoss, REPLACEMENT)) return known;
  const door = openFor(PgBoss, "send");
  const replacement = new Proxy(PgBoss, {
    construct(_, [config, ...rest], newTarget) {
      const made =
        door() === undefined ? undefined : safely("reading pg-boss's options", () => withColumn(config, door));
      const boss = Reflect.construct(PgBoss, [made?.config ?? config, ...rest], newTarget);
      made?.attach(boss);
      return boss;
    },
  });
  // it is found by the replacement as well, whose properties are the class's own
  Object.defineProperty(PgBoss, REPLACEMENT, { value: replacement });
  return replacement;
}

// --- producers

function sending(original: Method, door: () => Door | undefined, isUpsert = false): Method {
  return function (this: object, ...given: Given) {
    const own = door();
    if (own === undefined) return call(original, this, given);
    const { argsOf, ...job } = readSending(given);
    const isKeyed = isUpsert && fieldsOf(job.options).singletonKey !== undefined;
    const asked = isKeyed ? { ...job, isKeyed } : job;
    return sendThrough(own, this, asked, (made) => call(original, this, made === asked ? given : argsOf(made)));
  };
}

function readSending(given: Given): Sending {
  const [first, data, options, ...rest] = given;
  if (typeof first !== "object" || first === null) {
    return { name: first, data, options, argsOf: (job) => [job.name, job.data, job.options, ...rest] };
  }
  const request = fieldsOf(first);
  return {
    ...{ name: request.name, data: request.data, options: request.options },
    argsOf: (job) => [{ ...request, data: job.data, options: job.options }],
  };
}

function inserting(original: Method, door: () => Door | undefined): Method {
  return function (this: object, ...given: Given) {
    const [name, jobs, ...rest] = given;
    const own = door();
    if (own === undefined || isOwnCall(rest[0]) || !Array.isArray(jobs)) return call(original, this, given);
    const read = jobs.map((job): NewJob => ({ name, data: fieldsOf(job).data, options: job }));
    const insert = (made: readonly NewJob[]): unknown => {
      const items = made.map(({ data, options }, n) =>
        made[n] === read[n] ? jobs[n] : { ...fieldsOf(options), data },
      );
      return call(original, this, made === read ? given : [name, items, ...rest]);
    };
    return addThrough(own, this, read, insert, (ids) => (Array.isArray(ids) ? ids[0] : undefined));
  };
}

function flowing(original: Method, door: () => Door | undefined): Method {
  return function (this: object, ...given: Given) {
    const [jobs, ...rest] = given;
    const own = door();
    if (own === undefined || !Array.isArray(jobs)) return call(original, this, given);
    const read = jobs.map((job): NewJob => {
      const { name, data, options } = fieldsOf(job);
      return { name, data, options };
    });
    const add = (made: readonly NewJob[]): unknown => {
      const items = made.map((job, n) => (job === read[n] ? jobs[n] : { ...fieldsOf(jobs[n]), ...job }));
      return call(original, this, made === read ? given : [items, ...rest]);
    };
    return addThrough(own, this, read, add, (ids) => fieldsOf(ids)[String(fieldsOf(jobs[0]).ref)]);
  };
}

function publishing(original: Method, door: () => Door | undefined): Method {
  return function (this: object, ...given: Given) {
    const own = door();
    const publish = (): unknown => call(original, this, given);
    const [, data, options] = given;
    return own === undefined ? publish() : publishThrough(own, this, { data, options }, publish);
  };
}

// --- consumers

function working(original: Method, door: () => Door | undefined): Method {
  return function (this: object, ...given: Given) {
    const [name, ...args] = given;
    const [options, handler] = args.length > 1 ? args : [{}, args[0]];
    const isKnown = typeof name === "string" && typeof handler === "function" && typeof (options ?? {}) === "object";
    if (!isKnown || isOwnCall(options)) return call(original, this, given);
    const worker = workerOf(door, this, name, fieldsOf(options), handler as BatchHandler);
    return call(original, this, [name, worker.options, named(worker.handler, handler)]);
  };
}

// Jobs that an application fetches are nobody's attempts; it may ask for their carriers.
function fetching(original: Method, door: () => Door | undefined): Method {
  return function (this: object, ...given: Given) {
    const [name, options] = given;
    const column = columnOf(this);
    if (column === undefined || door() === undefined || isOwnCall(options)) return call(original, this, given);
    const fetched: Parameters<typeof column.fetched>[3] = [];
    const fetch = async (): Promise<unknown> => await column.during({ fetched }, () => call(original, this, given));
    return fetch().then(async (jobs) => {
      if (Array.isArray(jobs) && fetched.length > 0) {
        keepCarriers(
          jobs,
          await quietly("reading carriers", () => column.fetched(this, String(name), jobs, fetched), []),
        );
      }
      return jobs;
    });
  };
}

// The callers of these methods give what they like: it is passed on as it is.
function call(original: Method, boss: object, given: Given): unknown {
  return Reflect.apply(original, boss, given);
}
