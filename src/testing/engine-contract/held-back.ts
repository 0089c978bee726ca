import type { Delivery, EngineHost, OpenEngine, StoreEnd, TaskEngine } from "../../index.js";

/**
 * An engine whose deliveries reach the host only when the host has begun to shut down, as those do that were just being
 * fetched; `onArrival` is called when one is held back.
 */
export function heldBack(onArrival: () => void): (engine: TaskEngine) => TaskEngine {
  return (engine) => ({ ...engine, open: (host) => openHeldBack(engine, host, onArrival) });
}

function openHeldBack(engine: TaskEngine, host: EngineHost, onArrival: () => void): OpenEngine {
  const held: (() => void)[] = [];
  const run = (delivery: Delivery, store: StoreEnd): Promise<void> => {
    onArrival();
    return new Promise((resolve) => held.push(() => resolve(host.run(delivery, store))));
  };
  const late: EngineHost = {
    receive: (stored) => host.receive(stored),
    carrierOf: (origin) => host.carrierOf(origin),
    run,
    storeLost: (error) => host.storeLost(error),
    storeBack: () => host.storeBack(),
  };
  const open = engine.open(late);
  return {
    enqueue: (message) => open.enqueue(message),
    work: (names) => open.work(names),
    take: (taskId) => open.take(taskId),
    waiting: () => open.waiting(),
    quiesce: (deadline) => {
      for (const letGo of held.splice(0)) letGo();
      return open.quiesce(deadline);
    },
    close: () => open.close(),
  };
}
