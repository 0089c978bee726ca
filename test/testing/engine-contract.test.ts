import { type EngineHost, memoryEngine, type OpenEngine, type TaskEngine } from "otel-taskflow";
import { type EngineContractOptions, type EngineWorld, engineContract } from "otel-taskflow/testing/engine-contract";
import { expect, onTestFinished, test } from "vitest";
import type { Case } from "../../src/testing/engine-contract/case.js";
import { runCase } from "../../src/testing/engine-contract/run-case.js";
import { stopTelemetry, useContextManager, usePropagator } from "../support/telemetry.js";

const QUEUED = "cancel: stops a task that is queued, once";
const FOREIGN = "what is stored: by a producer without this library is run with its data as the one argument";

const memoryWorld: EngineWorld = {
  ...{ title: "memory", durable: false },
  create: async () => ({ engine: memoryEngine, close: async () => {} }),
};

interface Declared {
  /** By their names. */
  readonly tests: Map<string, () => Promise<void>>;
  readonly skipped: string[];
}

/** Declares the contract with a runner that only keeps what it is told. */
function declared(options: Omit<EngineContractOptions, "test">): Declared {
  const found: Declared = { tests: new Map(), skipped: [] };
  const declare = (name: string, fn: () => Promise<void>): unknown => found.tests.set(name, fn);
  engineContract({ ...options, test: Object.assign(declare, { skip: (name: string) => found.skipped.push(name) }) });
  return found;
}

function register({ contextManager = true, propagator = true } = {}): void {
  if (contextManager) useContextManager();
  if (propagator) usePropagator();
  onTestFinished(stopTelemetry);
}

/** The memory engine with a method of its own in place of one. */
function broken(method: Partial<OpenEngine>): () => TaskEngine {
  return () => {
    const engine = memoryEngine();
    const open = (host: EngineHost): OpenEngine => {
      const own = engine.open(host);
      return new Proxy(own, {
        get: (_, key) => Reflect.get(method, key) ?? Reflect.get(own, key).bind(own),
      });
    };
    return { ...engine, open };
  };
}

test("sections are described, or stand in front of the names of their cases", () => {
  const titles: string[] = [];
  const describe = (title: string, declareCases: () => void): void => {
    titles.push(title);
    declareCases();
  };
  const sections = declared({ world: memoryWorld, describe });
  const flat = declared({ world: memoryWorld });
  expect(titles).toContain("cancel");
  expect([...sections.tests.keys()]).toContain("stops a task that is queued, once");
  expect([...flat.tests.keys()]).toContain(QUEUED);
  expect([flat.tests.size, flat.skipped.length]).toEqual([sections.tests.size, sections.skipped.length]);
});

test("cases are skipped that a world is not made for", () => {
  const durable = { ...memoryWorld, durable: true };
  const skipped = [memoryWorld, durable, { ...durable, offers: ["addForeign"] as const }].map((world) =>
    declared({ world }).skipped.includes(FOREIGN),
  );
  expect(skipped).toEqual([true, true, false]);
});

test("an engine that keeps a rule passes its case, and one that breaks it fails", async () => {
  register();
  await declared({ world: memoryWorld }).tests.get(QUEUED)?.();
  const engine = broken({ take: () => undefined });
  const world = { ...memoryWorld, create: async () => ({ engine, close: async () => {} }) };
  await expect(declared({ world }).tests.get(QUEUED)?.()).rejects.toThrow("false !== true");
});

test("a case says at once what has to be registered", async () => {
  const run = declared({ world: memoryWorld }).tests.get(QUEUED);
  register({ contextManager: false });
  await expect(run?.()).rejects.toThrow("the engine contract needs OpenTelemetry's context manager");
  stopTelemetry();
  register({ propagator: false });
  await expect(run?.()).rejects.toThrow("the engine contract needs OpenTelemetry's W3C propagators");
});

test("a world that says something else than its engine is told", async () => {
  register();
  const run = declared({ world: { ...memoryWorld, durable: true } }).tests.get(QUEUED);
  await expect(run?.()).rejects.toThrow("memory: the world says durable: true, its engine's capabilities false");
});

test.each([
  ["passes", async () => {}, undefined],
  ["fails", () => Promise.reject(new Error("broken")), "broken"],
  ["never ends", () => new Promise<void>(() => {}), "never ends takes more than 50 ms"],
])("the store of a case that %s is closed, after its managers", async (name, run, error) => {
  register();
  const closed: string[] = [];
  const engine = broken({ close: () => void closed.push("engine") });
  const close = async (): Promise<void> => void closed.push("store");
  const world = { ...memoryWorld, create: async () => ({ engine, close }) };
  const one: Pick<Case, "name" | "run"> = {
    name,
    run: (rig) => {
      rig.manager();
      return run();
    },
  };
  const running = runCase(one, world, { ms: 50 });
  await (error === undefined ? running : expect(running).rejects.toThrow(error));
  expect(closed).toEqual(["engine", "store"]);
});
