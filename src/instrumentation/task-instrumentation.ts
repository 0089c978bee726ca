import { type MeterProvider, metrics, type TracerProvider, trace } from "@opentelemetry/api";
import {
  InstrumentationBase,
  type InstrumentationConfig,
  type InstrumentationModuleDefinition,
  InstrumentationNodeModuleDefinition,
  InstrumentationNodeModuleFile,
} from "@opentelemetry/instrumentation";
import { type Door, type DoorOptions, doorOf } from "../adapters/door.js";
import { show } from "../core/checks.js";
import { TaskConfigError } from "../core/errors.js";
import { safely } from "../core/guard.js";
import { SCOPE_NAME, SCOPE_VERSION } from "../core/semconv.js";
import { patchBullmq } from "./bullmq.js";
import { patchSandbox } from "./bullmq-sandbox.js";
import { watchBundle } from "./bundled.js";
import { patchGraphile } from "./graphile-worker.js";
import { type MainFile, tellOfEsModules } from "./late.js";
import { loadedModules } from "./loaded.js";
import type { Gate } from "./patch.js";
import { type PgBossOptions, patchPgBoss, withPlace } from "./pg-boss.js";

/** Wraps what a module exports, in place, or in a module that it returns to take its place. */
type Patch = (module: object, gate: Gate) => unknown;

/** A library whose jobs become tasks. */
interface Library {
  /** The package's name. */
  readonly name: string;
  /** Its key in {@link TaskInstrumentationConfig}. */
  readonly key: "bullmq" | "pgBoss" | "graphileWorker";
  readonly versions: string[];
  /** Whether releases of it are ES modules. */
  readonly isEsModule: boolean;
  /** Its files that are patched when they are loaded, as paths in the package; the first is its main one. */
  readonly files: readonly (readonly [path: string, patch: Patch])[];
}

const LIBRARIES: readonly Library[] = [
  // its main file has other paths in other releases, and none of its other files is patched
  {
    name: "pg-boss",
    key: "pgBoss",
    versions: [">=12.0.0"],
    isEsModule: true,
    files: [["dist/index.js", patchPgBoss]],
  },
  {
    name: "graphile-worker",
    key: "graphileWorker",
    versions: [">=0.16.0"],
    isEsModule: true,
    files: [["dist/index.js", patchGraphile]],
  },
  {
    name: "bullmq",
    key: "bullmq",
    versions: [">=5.0.0"],
    isEsModule: false,
    files: [
      ["dist/cjs/index.js", patchBullmq],
      // an ES module that imports BullMQ, which is CommonJS, has Node.js require this one, hook or no hook
      ["dist/cjs/classes/index.js", patchBullmq],
      ["dist/cjs/classes/child-processor.js", patchSandbox],
    ],
  },
];

/** The settings of a {@link TaskInstrumentation}. */
export interface TaskInstrumentationConfig extends DoorOptions, InstrumentationConfig {
  /** Whether jobs of BullMQ are tasks. Default `true`. */
  bullmq?: boolean | undefined;
  /**
   * Whether jobs of pg-boss are tasks; `{ carrier: "data" }` puts a carrier into the data of a job where an instance has
   * no trace column of this library's. Default `true`.
   */
  pgBoss?: boolean | PgBossOptions | undefined;
  /** Whether jobs of graphile-worker are tasks. Default `true`. */
  graphileWorker?: boolean | undefined;
}

/**
 * Makes tasks of the jobs of queue libraries, with no change to a call site: one line among the `instrumentations` of an
 * OpenTelemetry SDK. It does what `withTasks` does, to each copy of a library that is loaded, before or after. Where it
 * is disabled, the library works as if it were not there.
 *
 * @throws TaskConfigError for an option that is unknown or out of range.
 */
export class TaskInstrumentation extends InstrumentationBase<TaskInstrumentationConfig> {
  readonly #gates = new Map<string, Gate>();
  /** The libraries that were loaded, before or after, where they could be patched. */
  readonly #reached = new Set<string>();
  #tracerProvider: TracerProvider | undefined;
  #meterProvider: MeterProvider | undefined;
  #door: Door;

  constructor(config: TaskInstrumentationConfig = {}) {
    const door = doorOfConfig(config);
    // the base class would enable it before the fields here are set
    super(SCOPE_NAME, SCOPE_VERSION, { ...config, enabled: false });
    this.#door = door;
    for (const { name, key } of LIBRARIES) this.#gates.set(name, { door: () => this.#openDoor(key) });
    this.setConfig(config);
    if (this.getConfig().enabled) this.enable();
  }

  override setConfig(config: TaskInstrumentationConfig = {}): void {
    super.setConfig(config);
    if (#door in this) this.#renew();
  }

  /** The global one is looked up at each use, so that it may be registered later. */
  override setTracerProvider(provider: TracerProvider): void {
    super.setTracerProvider(provider);
    this.#tracerProvider = provider === trace.getTracerProvider() ? undefined : provider;
    this.#renew();
  }

  /** The global one is looked up at each use, so that it may be registered later. */
  override setMeterProvider(provider: MeterProvider): void {
    super.setMeterProvider(provider);
    this.#meterProvider = provider === metrics.getMeterProvider() ? undefined : provider;
    this.#renew();
  }

  override enable(): void {
    // the base class calls this from its constructor, too
    if (!(#door in this)) return;
    super.enable();
    safely("looking for loaded libraries", () => this.#patchLoaded());
    watchBundle();
  }

  protected override init(): InstrumentationModuleDefinition[] {
    return LIBRARIES.map(({ name, versions, files }) => {
      const [[, patchMain] = [], ...others] = files;
      const patchWith =
        (patch: Patch) =>
        (module: unknown): unknown =>
          this.#patch(name, patch, module);
      const definition = new InstrumentationNodeModuleDefinition(name, versions, patchMain && patchWith(patchMain));
      const keep = (): void => {};
      for (const [path, patch] of others) {
        const file = `${name}/${path}`;
        definition.files.push(new InstrumentationNodeModuleFile(file, versions, patchWith(patch), keep));
      }
      return definition;
    });
  }

  #patch(name: string, patch: Patch, module: unknown): unknown {
    this.#reached.add(name);
    const gate = this.#gates.get(name);
    if (gate === undefined || typeof module !== "object" || module === null) return module;
    return safely(`wrapping ${name}`, () => patch(module, gate)) ?? module;
  }

  #patchLoaded(): void {
    const inPlace: string[] = [];
    for (const { name, files } of LIBRARIES) {
      const modules = loadedModules(name);
      for (const [path, patch] of files) {
        for (const { file, exports } of modules) {
          if (file.endsWith(`/${name}/${path}`) && this.#patch(name, patch, exports) === exports) inPlace.push(file);
        }
      }
    }
    const isReached = (name: string): boolean => this.#reached.has(name);
    tellOfEsModules(() => this.#esModules(), isReached, inPlace);
  }

  /** Those that are served. */
  #esModules(): MainFile[] {
    const served = LIBRARIES.filter(({ key, isEsModule }) => isEsModule && this.#openDoor(key) !== undefined);
    return served.flatMap(({ name, files }) => files.slice(0, 1).map(([file]) => ({ name, file })));
  }

  #renew(): void {
    const { tracerProvider = this.#tracerProvider, meterProvider = this.#meterProvider, ...others } = this.getConfig();
    this.#door = doorOfConfig({ ...others, tracerProvider, meterProvider });
  }

  #openDoor(key: Library["key"]): Door | undefined {
    return this.isEnabled() && this.getConfig()[key] !== false ? this.#door : undefined;
  }
}

function doorOfConfig({ enabled: _enabled, ...config }: TaskInstrumentationConfig): Door {
  const { bullmq = true, pgBoss = true, graphileWorker = true, ...options } = config;
  const isPlaced = typeof pgBoss === "object" && pgBoss !== null;
  for (const [key, value] of Object.entries({ bullmq, graphileWorker, ...(!isPlaced && { pgBoss }) })) {
    if (typeof value !== "boolean")
      throw new TaskConfigError(`${key}: expected true or false, received ${show(value)}`);
  }
  return withPlace(doorOf("new TaskInstrumentation()", options), pgBoss);
}
