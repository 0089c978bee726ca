import { type Door, type DoorOptions, doorOf } from "../adapters/door.js";
import { addAllThrough, addThrough, type GraphileBulkSpec } from "../adapters/graphile-worker-add.js";
import { type GraphileTaskHelpers, taskThrough } from "../adapters/graphile-worker-run.js";
import { checkObject } from "../core/checks.js";
import { SCOPE_NAME, SCOPE_VERSION } from "../core/semconv.js";
import { shared } from "../core/slot.js";
import { fieldsOf } from "../core/wire.js";
import { ownLists } from "../engines/graphile-worker/library.js";
import { schemaOf } from "../engines/graphile-worker/options.js";
import { exportOf, type Gate, named } from "./patch.js";
import { noteWrapped } from "./unwrapped.js";

type Task = (payload: unknown, helpers: GraphileTaskHelpers) => unknown;
type Tasks = Record<string, Task>;
// whatever graphile-worker's own functions take and return
type Call = (...args: unknown[]) => Promise<unknown>;
type Wrap = (original: Call, gate: Gate) => Call;

/** A part of what graphile-worker gives the hook that tells of a worker's start. */
interface StartWorkerEvent {
  readonly tasks: Tasks;
}

/** What graphile-worker exports, by name, and how each of it is wrapped. */
const WRAPS: Readonly<Record<string, Wrap>> = {
  run:
    (original, gate) =>
    async (options, taskList, ...rest) => {
      const runner = await original(withPlugin(options, gate), listThrough(taskList, gate, options), ...rest);
      return producing(runner, gate);
    },
  runOnce:
    (original, gate) =>
    (options, taskList, ...rest) =>
      original(withPlugin(options, gate), listThrough(taskList, gate, options), ...rest),
  runTaskList: runningList,
  runTaskListOnce: runningList,
  makeWorkerUtils: (original, gate) => async (options) => producing(await original(options), gate),
  quickAddJob: addingAdHoc,
  addJobAdhoc: addingAdHoc,
};

/** What was made to take the place of an export. */
const wrappers = new WeakSet<object>();
const plugins = new WeakMap<Gate, object>();
/** How many plugins all copies of this package have made: graphile-worker refuses two of one name. */
const plugged = shared("graphile-plugins.1", () => ({ count: 0 }));
/** The tasks that any copy of this package has wrapped: attempts already. */
const wrapped = shared("graphile-wrapped.1", () => new WeakSet<Task>());
const producers = new WeakSet<object>();

/**
 * Makes tasks of all jobs of graphile-worker, with no change to a call site: every way to add a job gets an enqueue span
 * and a carrier, as `addJob` does, and each task of a list or a directory runs as an attempt, as with `withTask`. What
 * graphile-worker exports cannot be changed in place, so this returns a module in its place, to be used instead; the
 * `WorkerPreset` of that one brings tasks to the `graphile-worker` command. The caller's task list stays as it is.
 *
 * @throws TaskConfigError for an option that is unknown or out of range.
 */
export function withTasks<Module extends object>(graphileWorker: Module, options: DoorOptions = {}): Module {
  checkObject("withTasks(): its module", graphileWorker);
  noteWrapped("graphile-worker");
  const door = doorOf("withTasks()", options);
  return { ...graphileWorker, ...replacementsOf(graphileWorker, { door: () => door }) };
}

/** Puts wrappers in the place of a module's exports; where these cannot be changed, returns a module in its place. */
export function patchGraphile<Module extends object>(module: Module, gate: Gate): Module {
  const replacements = replacementsOf(module, gate);
  for (const [name, value] of Object.entries(replacements)) Reflect.set(module, name, value);
  const isPatched = Object.entries(replacements).every(([name, value]) => Reflect.get(module, name) === value);
  return isPatched ? module : { ...module, ...replacements };
}

// What takes the place of a module's exports; of those alone that it has, as mocks may have few.
function replacementsOf(module: object, gate: Gate): Record<string, object> {
  const replacements: Record<string, object> = {};
  for (const [name, wrap] of Object.entries(WRAPS)) {
    const original = exportOf(module, name);
    if (typeof original === "function" && !wrappers.has(original)) {
      replacements[name] = named(wrap(original as Call, gate), original);
    }
  }
  const preset = exportOf(module, "WorkerPreset");
  const { plugins: given } = fieldsOf(preset);
  if (Array.isArray(given) && !wrappers.has(fieldsOf(preset))) {
    replacements.WorkerPreset = { ...fieldsOf(preset), plugins: [...given, pluginOf(gate)] };
  }
  // a module may be given more than once
  for (const replacement of Object.values(replacements)) wrappers.add(replacement);
  return replacements;
}

function runningList(original: Call, gate: Gate): Call {
  return (options, taskList, ...rest) => original(options, listThrough(taskList, gate, options), ...rest);
}

function addingAdHoc(original: Call, gate: Gate): Call {
  return (options, identifier, payload, spec = {}) =>
    adding(gate, identifier, payload, spec, (own) => original(options, identifier, payload, own));
}

function adding(
  gate: Gate,
  ...[identifier, payload, spec, add]: [unknown, unknown, unknown, (spec: unknown) => Promise<unknown>]
): Promise<unknown> {
  const door = gate.door();
  const isKnown = typeof identifier === "string" && typeof spec === "object" && spec !== null;
  return door === undefined || door.producer === false || !isKnown
    ? add(spec)
    : addThrough(door, identifier, payload, spec, add);
}

/** Wraps the ways to add jobs that an object of graphile-worker's own has: utils, a runner, the helpers of a job. */
function producing<T>(adder: T, gate: Gate): T {
  const fields = fieldsOf(adder);
  if (producers.has(fields)) return adder;
  producers.add(fields);
  const { addJob, addJobs } = fields;
  if (typeof addJob === "function") {
    const call: Call = addJob.bind(fields);
    const adds = (identifier: unknown, payload: unknown, spec: unknown = {}): Promise<unknown> =>
      adding(gate, identifier, payload, spec, (own) => call(identifier, payload, own));
    // an object that is frozen stays as it is
    Reflect.set(fields, "addJob", named(adds, addJob));
  }
  if (typeof addJobs === "function") {
    const call: (specs: unknown, ...rest: unknown[]) => Promise<unknown[]> = addJobs.bind(fields);
    const addsAll = (specs: unknown, ...rest: unknown[]): Promise<unknown[]> => {
      const door = gate.door();
      if (door === undefined || door.producer === false || !isListOfJobs(specs)) return call(specs, ...rest);
      return addAllThrough(door, specs, (own) => call(own, ...rest));
    };
    Reflect.set(fields, "addJobs", named(addsAll, addJobs));
  }
  return adder;
}

function isListOfJobs(specs: unknown): specs is GraphileBulkSpec[] {
  return Array.isArray(specs) && specs.every((spec) => typeof fieldsOf(spec).identifier === "string");
}

// --- tasks

// A list of the application's is looked through: what it has is wrapped when it is asked for, and it stays as it is. What
// others write to the list that is handed on, as plugins do, is kept beside it.
function listThrough(list: unknown, gate: Gate, options: unknown): unknown {
  if (typeof list !== "object" || list === null || ownLists.has(list)) return list;
  const schema = schemaIn(options);
  const made = new WeakMap<Task, Task>();
  // of an object of its own, as a view of one that is frozen could show nothing else
  return new Proxy<Record<PropertyKey, unknown>>(
    {},
    {
      has: (written, name) => Reflect.has(written, name) || Reflect.has(list, name),
      ownKeys: (written) => [...new Set([...Reflect.ownKeys(list), ...Reflect.ownKeys(written)])],
      getOwnPropertyDescriptor(written, name) {
        const found = Reflect.getOwnPropertyDescriptor(Object.hasOwn(written, name) ? written : list, name);
        return found && { ...found, configurable: true };
      },
      set: (written, name, value) => Reflect.set(written, name, value),
      get(written, name) {
        const task: unknown = Reflect.get(Object.hasOwn(written, name) ? written : list, name);
        return typeof task === "function" ? throughGate(task as Task, gate, schema, made) : task;
      },
    },
  );
}

// The tasks of a directory are nobody's but graphile-worker's, which tells of them when a worker starts.
function withPlugin(options: unknown, gate: Gate): unknown {
  const given = fieldsOf(options);
  const { taskList, preset } = given;
  if (typeof taskList === "object" && taskList !== null && ownLists.has(taskList)) return options;
  const extended = preset === undefined || preset === null ? [] : [preset];
  const list = taskList === undefined ? {} : { taskList: listThrough(taskList, gate, options) };
  return { ...given, ...list, preset: { extends: extended, plugins: [pluginOf(gate)] } };
}

function pluginOf(gate: Gate): object {
  const plugin = plugins.get(gate) ?? pluginFor(gate);
  plugins.set(gate, plugin);
  return plugin;
}

function pluginFor(gate: Gate): object {
  const made = new WeakMap<Task, Task>();
  const startWorker = (context: unknown, { tasks }: StartWorkerEvent): void => {
    const schema = schemaIn(fieldsOf(fieldsOf(context).resolvedPreset).worker);
    // each worker of a runner is given the same list, and a list that is looked through has wrapped tasks already
    for (const [name, task] of Object.entries(tasks)) {
      if (!wrapped.has(task)) tasks[name] = throughGate(task, gate, schema, made);
    }
  };
  plugged.count += 1;
  const name = plugged.count === 1 ? SCOPE_NAME : `${SCOPE_NAME}-${plugged.count}`;
  return { name, version: SCOPE_VERSION, worker: { hooks: { startWorker } } };
}

function schemaIn(options: unknown): string {
  const { schema } = fieldsOf(options);
  return schemaOf(typeof schema === "string" && schema !== "" ? schema : undefined);
}

function throughGate(task: Task, gate: Gate, schema: string, made: WeakMap<Task, Task>): Task {
  const known = made.get(task);
  if (known !== undefined) return known;
  let current: { readonly door: Door; readonly run: Task } | undefined;
  const wrapper: Task = (payload, helpers) => {
    const door = gate.door();
    if (door === undefined) return task(payload, helpers);
    if (current?.door !== door) current = { door, run: taskThrough(door, task, schema) };
    return current.run(payload, producing(helpers, gate));
  };
  made.set(task, named(wrapper, task));
  wrapped.add(wrapper);
  return wrapper;
}
