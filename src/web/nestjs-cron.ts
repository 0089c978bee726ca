import type { OnApplicationBootstrap, OnModuleInit } from "@nestjs/common";
import { MetadataScanner, type ModulesContainer, Reflector } from "@nestjs/core";
import { MAX_TEXT } from "../core/checks.js";
import { safely } from "../core/guard.js";
import { handlerRunner } from "../core/handler.js";
import { storable } from "../core/text.js";
import type { TaskTelemetryOptions } from "../core/types.js";

/** The metadata by which `@nestjs/schedule` knows its methods, and its value for those of `@Cron`. */
const SCHEDULER_TYPE = "SCHEDULER_TYPE";
const CRON = 1;

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Methods made here, for an application with two modules that make them. */
const made = new WeakSet<Method>();

/**
 * Makes tasks of an application's `@Cron` methods: while `@nestjs/schedule` looks for them, which it does when the
 * modules are initialised, each instance has a method in the place of its own that runs that as an attempt. Who else
 * calls the method calls it as it is.
 */
export class CronTasks implements OnModuleInit, OnApplicationBootstrap {
  readonly #modules: ModulesContainer;
  readonly #telemetry: TaskTelemetryOptions;
  readonly #restore: (() => void)[] = [];

  constructor(modules: ModulesContainer, telemetry: TaskTelemetryOptions) {
    this.#modules = modules;
    this.#telemetry = telemetry;
  }

  onModuleInit(): void {
    for (const instance of instancesIn(this.#modules)) {
      const replace = (): void => this.#replaceMethods(instance);
      safely("looking for @Cron methods", replace);
    }
  }

  onApplicationBootstrap(): void {
    for (const restore of this.#restore.splice(0)) safely("restoring a @Cron method", restore);
  }

  #replaceMethods(instance: object): void {
    for (const [key, method] of cronMethodsOf(instance)) {
      const own = Object.getOwnPropertyDescriptor(instance, key);
      const task = taskOf(instance, key, method, this.#telemetry);
      Object.defineProperty(instance, key, { value: task, configurable: true, writable: true });
      this.#restore.push(() => {
        if (own === undefined) Reflect.deleteProperty(instance, key);
        else Object.defineProperty(instance, key, own);
      });
    }
  }
}

function instancesIn(modules: ModulesContainer): ReadonlySet<object> {
  const wrappers = [...modules.values()].flatMap(({ controllers, providers }) => [
    ...controllers.values(),
    ...providers.values(),
  ]);
  const instances: unknown[] = wrappers.map(({ instance }) => instance);
  return new Set(instances.filter((instance) => typeof instance === "object" && instance !== null));
}

// In the way of @nestjs/schedule: it takes what the instance has under the name of a method of its class.
function cronMethodsOf(instance: object): [key: string, method: Method][] {
  const reflector = new Reflector();
  const names = new MetadataScanner().getAllMethodNames(Object.getPrototypeOf(instance));
  return names.flatMap((key): [string, Method][] => {
    // cron calls it with what it has, whatever it takes
    const method = Reflect.get(instance, key) as Method | undefined;
    const isCron = typeof method === "function" && reflector.get(SCHEDULER_TYPE, method) === CRON;
    return isCron && !made.has(method) ? [[key, method]] : [];
  });
}

function taskOf(instance: object, key: string, method: Method, telemetry: TaskTelemetryOptions): Method {
  // nobody tries a run again before the next is due
  const info = { funcName: storable(`${instance.constructor.name}.${key}`, MAX_TEXT), maxAttempts: 1 };
  const runAttempt = handlerRunner(method.name, telemetry);
  const task: Method = async function (...args) {
    const { end } = await runAttempt(info, () => method.apply(this, args), { wishes: { isScheduled: true } });
    if (end.outcome === "success") return end.value;
    throw end.error;
  };
  // metadata is looked for along the prototypes
  Object.setPrototypeOf(task, method);
  made.add(task);
  return task;
}
