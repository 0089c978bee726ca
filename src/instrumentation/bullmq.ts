import { addBulkThrough, addThrough, flowThrough } from "../adapters/bullmq-add.js";
import { listenersOf, processorOf } from "../adapters/bullmq-run.js";
import { BY_HAND, type Door, type DoorOptions, doorOf } from "../adapters/door.js";
import { checkObject } from "../core/checks.js";
import { warn } from "../core/guard.js";
import { isEngines } from "../engines/bullmq/library.js";
import { carryingTo } from "./bullmq-sandbox.js";
import { exportOf, type Gate, type Method, ownerOf, type Wrap, wrapMethod } from "./patch.js";
import { noteWrapped } from "./unwrapped.js";

/** The part of a worker that is used. */
interface PatchedWorker {
  /** The processor that it was given, or the one that hands its jobs to a sandbox. */
  readonly processFn?: Method | undefined;
  /** There is one where its processor runs in a sandbox. */
  readonly childPool?: object | undefined;
}

/** A processor that runs jobs as attempts, and from which settings and processor it was made. */
interface Attempting {
  readonly door: Door;
  readonly processFn: Method | undefined;
  readonly run: Method;
}

/** The methods that are wrapped, by their classes. */
const WRAPS: Readonly<Record<string, Readonly<Record<string, Wrap>>>> = {
  Queue: { add: wrapAdd, addBulk: wrapAddBulk },
  FlowProducer: { add: wrapFlow, addBulk: wrapFlow },
  Worker: { callProcessJob: wrapProcessing, emit: wrapEmit },
};
/** Each class has this method in every version; a class of a mock may have none at all. */
const IN_ANY_VERSION = "close";

/** What a worker tells of one job, which is the first thing that its listeners get. */
const TELLS_OF_JOB: readonly unknown[] = ["active", "completed", "failed", "progress"];
const TELLS_OF_END: readonly unknown[] = ["completed", "failed"];

const WITHOUT_OPTIONS: Gate = Object.freeze({ door: () => BY_HAND, isLast: true });

const attempting = new WeakMap<object, Attempting>();
const listening = new WeakMap<Door, ReturnType<typeof listenersOf>>();

/**
 * Makes tasks of all jobs of BullMQ, with no change to a call site: `queue.add`, `addBulk` and flows get an enqueue span
 * and a carrier, and each processor runs as an attempt, as with `addJob` and `withTask`. It wraps methods of the given
 * module's classes in place and returns that module, so that objects which others made, or made before, are served too,
 * and `instanceof` holds. A module may lack some of the classes, as mocks do. It may be called again: nothing is wrapped
 * twice, and the newest options decide; without options it changes none. A version of BullMQ that does not fit is told to diag, and left as it is.
 *
 * @throws TaskConfigError for an option that is unknown or out of range.
 */
export function withTasks<Module extends object>(bullmq: Module, options?: DoorOptions): Module {
  checkObject("withTasks(): its module", bullmq);
  noteWrapped("bullmq");
  patchBullmq(bullmq, options === undefined ? WITHOUT_OPTIONS : gateOf(options));
  return bullmq;
}

function gateOf(options: DoorOptions): Gate {
  const door = doorOf("withTasks()", options);
  return { door: () => door };
}

/** Wraps what a module has of BullMQ's classes: all of it, or nothing. */
export function patchBullmq(module: object, gate: Gate): void {
  const found = Object.entries(WRAPS).map(([name, wraps]) => ({ name, wraps, Class: exportOf(module, name) }));
  const unknown = found.filter(({ wraps, Class }) => !fits(Class, Object.keys(wraps)));
  if (unknown.length > 0) {
    const names = unknown.map(({ name }) => name).join(", ");
    warn(`this version of BullMQ stays as it is: its ${names} has other methods than those known here`);
    return;
  }
  for (const { wraps, Class } of found) {
    for (const [method, wrap] of Object.entries(wraps)) wrapMethod(Class, method, gate, wrap);
  }
}

function fits(Class: unknown, methods: readonly string[]): boolean {
  return ownerOf(Class, IN_ANY_VERSION) === undefined || methods.every((method) => ownerOf(Class, method));
}

// The callers of these methods give what they like: it is passed on as it is.
function wrapAdd(original: Method, door: () => Door | undefined): Method {
  return function (name, data, options, ...rest) {
    const own = producing(this, door());
    const add = (given: unknown): unknown => original.call(this, name, data, given as never, ...rest);
    return own === undefined ? add(options) : addThrough(own, this, name, data, options, add);
  };
}

function wrapAddBulk(original: Method, door: () => Door | undefined): Method {
  return function (jobs, ...rest) {
    const own = producing(this, door());
    const addBulk = (given: unknown): unknown => original.call(this, given as never, ...rest);
    return own === undefined ? addBulk(jobs) : addBulkThrough(own, this, jobs, addBulk);
  };
}

function wrapFlow(original: Method, door: () => Door | undefined): Method {
  return function (tree, ...rest) {
    const own = producing(this, door());
    const add = (given: unknown): unknown => original.call(this, given as never, ...rest);
    return own === undefined ? add(tree) : flowThrough(own, tree, add);
  };
}

function producing(producer: object, door: Door | undefined): Door | undefined {
  return door?.producer === false || isEngines(producer) ? undefined : door;
}

// A worker calls its processor by this method, so that it need not be known when the worker is made.
function wrapProcessing(original: Method, door: () => Door | undefined): Method {
  return function (this: PatchedWorker, ...given) {
    const own = isEngines(this) ? undefined : door();
    return (own === undefined ? original : attemptsOf(this, own, original)).apply(this, given);
  };
}

function attemptsOf(worker: PatchedWorker, door: Door, original: Method): Method {
  const { processFn, childPool } = worker;
  const known = attempting.get(worker);
  if (known?.door === door && known.processFn === processFn) return known.run;
  const isSandboxed = childPool !== undefined;
  const process: Method = function (job: never, ...rest) {
    const call = (): unknown => original.call(this, job, ...rest);
    return isSandboxed ? carryingTo(job, call) : call();
  };
  // what hands jobs to a sandbox is no function of the application's
  Object.defineProperty(process, "name", { value: isSandboxed ? "" : processFn?.name });
  const run = processorOf(door, process as never) as unknown as Method;
  attempting.set(worker, { door, processFn, run });
  return run;
}

// Listeners, whoever added them and when, are called by this method.
function wrapEmit(original: Method, door: () => Door | undefined): Method {
  return function (this: { listenerCount?(event: string): number }, event: string, ...given) {
    const emit = (): unknown => original.call(this, event as never, ...given);
    const isHeard = TELLS_OF_JOB.includes(event) && this.listenerCount?.(event) !== 0;
    const own = isHeard && !isEngines(this) ? door() : undefined;
    return own === undefined ? emit() : listenersAt(own)(given[0], emit, TELLS_OF_END.includes(event));
  };
}

function listenersAt(door: Door): ReturnType<typeof listenersOf> {
  const listeners = listening.get(door) ?? listenersOf(door);
  listening.set(door, listeners);
  return listeners;
}
