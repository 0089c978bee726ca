import type { Delivery, EngineHost, OpenEngine, StoreEnd, TaskEngine } from "otel-taskflow";
import { overStore } from "otel-taskflow/engine";

export interface ScriptedEngine extends TaskEngine {
  /** Gives the host an attempt of a task; resolves when everything about it is over. */
  run(name: string, id: string, store: StoreEnd, facts?: Partial<Delivery>): Promise<void>;
  /** A delivery of that task, as `take` returns it. */
  delivery(name: string, id: string, facts?: Partial<Delivery>): Delivery;
}

/** An engine that stores nothing: tests say what it delivers and answers. */
export function scriptedEngine(parts: Partial<OpenEngine> = {}, durable = true, maxLost?: number): ScriptedEngine {
  const hosts: EngineHost[] = [];
  const works = { enqueue: () => true, work: () => {}, take: () => undefined, waiting: () => 0 };
  const ends = { quiesce: () => [], close: () => {} };
  const delivery = (name: string, id: string, facts: Partial<Delivery> = {}): Delivery => {
    const origin = hosts[0]?.receive({ id, name, carrier: undefined });
    if (origin === undefined) throw new Error("the engine has no host yet");
    return { origin, args: [], attempt: 0, dueAt: undefined, redelivered: false, previous: undefined, ...facts };
  };
  return {
    name: "scripted",
    capabilities: { durable, granularity: 0 },
    maxLost,
    open: (host) =>
      overStore(host, (own) => {
        hosts.push(own);
        return { ...works, ...ends, ...parts };
      }),
    run: async (name, id, store, facts) => await hosts[0]?.run(delivery(name, id, facts), store),
    delivery,
  };
}
