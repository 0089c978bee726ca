import {
  type DynamicModule,
  type FactoryProvider,
  Logger,
  type ModuleMetadata,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type Provider,
} from "@nestjs/common";
import { ModulesContainer } from "@nestjs/core";
import { checkBoolean, checkFunction, checkKeys, checkNumber, MAX_TIMER_MS, namesOf } from "../core/checks.js";
import { splitTelemetryOptions } from "../core/info-keys.js";
import { TaskManager } from "../index.js";
import { checkEngine, MANAGER_KEYS, type TaskManagerOptions } from "../manager/options.js";
import { CronTasks } from "./nestjs-cron.js";
import { drainFirst, initFirst } from "./nestjs-order.js";

export { TaskLogger } from "./nestjs-logger.js";

/** What a module's `TaskManager` is made with, and what the application's hooks do. */
export interface TaskflowOptions extends TaskManagerOptions {
  /** Whether the application runs tasks. `false`: it only adds them, for others to run. Default `true`. */
  work?: boolean | undefined;
  /** Milliseconds that a closing application lets tasks end by themselves. Default 10,000. */
  shutdownTimeout?: number | undefined;
  /** Whether each run of a `@Cron` method of `@nestjs/schedule` is a task. Default `true`. */
  cron?: boolean | undefined;
}

/** What {@link TaskflowModule.forRoot} takes. */
export interface TaskflowModuleOptions extends TaskflowOptions {
  /** Whether all modules have the `TaskManager`, or only those that import this one. Default `true`. */
  isGlobal?: boolean | undefined;
}

/** What {@link TaskflowModule.forRootAsync} takes. */
export interface TaskflowModuleAsyncOptions {
  /** The modules that export what `useFactory` needs. Default none. */
  imports?: ModuleMetadata["imports"] | undefined;
  /** The providers that `useFactory` is called with. Default none. */
  inject?: FactoryProvider["inject"] | undefined;
  /** Makes the options. An application has an engine of its own, which may be made here. */
  useFactory: FactoryProvider<TaskflowOptions | Promise<TaskflowOptions>>["useFactory"];
  /** Whether all modules have the `TaskManager`, or only those that import this one. Default `true`. */
  isGlobal?: boolean | undefined;
}

/** Makes a module's settings for an application. */
interface SettingsFactory {
  readonly useFactory: (...dependencies: unknown[]) => Settings | Promise<Settings>;
}

/** {@link TaskflowOptions}, checked. */
interface Settings {
  readonly manager: TaskManagerOptions;
  readonly work: boolean;
  readonly shutdownTimeout: number | undefined;
  readonly cron: boolean;
}

const OWN_KEYS = { work: true, shutdownTimeout: true, cron: true } as const;
const FACTORY_KEYS: ReadonlySet<string> = new Set([...MANAGER_KEYS, ...Object.keys(OWN_KEYS)]);
const MODULE_KEYS: ReadonlySet<string> = new Set([...FACTORY_KEYS, "isGlobal"]);
const ASYNC_KEYS = namesOf<TaskflowModuleAsyncOptions>({
  imports: true,
  inject: true,
  useFactory: true,
  isGlobal: true,
});

/** The part of the module whose hooks look through the application before those of any other. */
class TaskflowSettingsModule {}

/**
 * Gives a NestJS application its `TaskManager`, by injection of that class. It starts to run tasks when the application
 * has started, and shuts down when the application closes: once the requests have ended, and before other modules hear
 * `onApplicationShutdown`, so that tasks which are still running find what these modules hold open. For signals of the
 * process, Nest wants `app.enableShutdownHooks()`. Each run of a `@Cron` method is one attempt of a task that is called
 * `Class.method`, in a trace of its own; what the method throws reaches `@nestjs/schedule` as before.
 */
// biome-ignore lint/complexity/noStaticOnlyClass: Nest knows a module by its class
export class TaskflowModule {
  /**
   * The module by options that are known when it is imported. An engine belongs to one application: where several are
   * made of the same module, as tests do, make the engine in `forRootAsync`.
   *
   * @throws TaskConfigError for an unknown option, or one out of range.
   */
  static forRoot(options: TaskflowModuleOptions = {}): DynamicModule {
    checkKeys("TaskflowModule.forRoot()", options, MODULE_KEYS);
    const { isGlobal = true, ...others } = options;
    const settings = settingsOf("TaskflowModule.forRoot()", others);
    // its engine is opened by the application's own manager
    void new TaskManager({ ...settings.manager, engine: undefined });
    return moduleOf({ useFactory: () => settings }, isGlobal);
  }

  /**
   * The module by options that a factory makes, each time that an application starts, of what it has injected.
   *
   * @throws TaskConfigError for an unknown option, or one out of range. What is wrong about the factory's own options
   * rejects the start of the application.
   */
  static forRootAsync(options: TaskflowModuleAsyncOptions): DynamicModule {
    checkKeys("TaskflowModule.forRootAsync()", options, ASYNC_KEYS);
    const { imports = [], inject = [], useFactory, isGlobal = true } = options;
    checkFunction("useFactory", useFactory);
    const make = async (...dependencies: unknown[]): Promise<Settings> =>
      settingsOf("TaskflowModule.forRootAsync()", await useFactory(...dependencies));
    return moduleOf({ imports, inject, useFactory: make }, isGlobal);
  }
}

function settingsOf(call: string, options: TaskflowOptions): Settings {
  checkKeys(call, options, FACTORY_KEYS);
  const { work = true, shutdownTimeout, cron = true, ...manager } = options;
  if (manager.engine !== undefined) checkEngine(manager.engine);
  if (shutdownTimeout !== undefined) checkNumber("shutdownTimeout", shutdownTimeout, { min: 0, max: MAX_TIMER_MS });
  return { manager, work: checkBoolean("work", work), shutdownTimeout, cron: checkBoolean("cron", cron) };
}

function moduleOf(
  { imports = [], inject = [], useFactory }: Pick<TaskflowModuleAsyncOptions, "imports" | "inject"> & SettingsFactory,
  isGlobal: boolean,
): DynamicModule {
  // Nest 10 takes two modules for one where their providers' tokens and the texts of their factories are the same
  const token = Symbol(`otel-taskflow settings ${crypto.randomUUID()}`);
  const settings: DynamicModule = {
    module: TaskflowSettingsModule,
    imports,
    providers: [{ provide: token, useFactory, inject }, cronProvider(token)],
    exports: [token],
  };
  return {
    module: TaskflowModule,
    global: checkBoolean("isGlobal", isGlobal),
    imports: [settings],
    providers: [managerProvider(token), lifecycleProvider(token)],
    exports: [TaskManager],
  };
}

function cronProvider(settings: symbol): Provider {
  return {
    provide: CronTasks,
    inject: [settings, ModulesContainer],
    useFactory: ({ cron, manager }: Settings, modules: ModulesContainer) => {
      initFirst(modules, TaskflowSettingsModule);
      return cron ? new CronTasks(modules, splitTelemetryOptions(manager)[0]) : undefined;
    },
  };
}

function managerProvider(settings: symbol): Provider {
  return { provide: TaskManager, inject: [settings], useFactory: ({ manager }: Settings) => new TaskManager(manager) };
}

function lifecycleProvider(settings: symbol): Provider {
  return {
    provide: Lifecycle,
    inject: [settings, TaskManager, ModulesContainer],
    useFactory: (own: Settings, tasks: TaskManager, modules: ModulesContainer) => {
      drainFirst(modules, TaskflowModule);
      return new Lifecycle(own, tasks);
    },
  };
}

/** What the application's hooks do with its manager. */
class Lifecycle implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #settings: Settings;
  readonly #tasks: TaskManager;

  constructor(settings: Settings, tasks: TaskManager) {
    this.#settings = settings;
    this.#tasks = tasks;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.#settings.work) await this.#tasks.work();
  }

  async onApplicationShutdown(): Promise<void> {
    const { abandoned } = await this.#tasks.shutdown({ timeout: this.#settings.shutdownTimeout });
    if (abandoned.length === 0) return;
    const names = [...new Set(abandoned.map(({ funcName }) => funcName))].join(", ");
    new Logger(TaskflowModule.name).warn(`${abandoned.length} of the tasks did not end in time: ${names}`);
  }
}
