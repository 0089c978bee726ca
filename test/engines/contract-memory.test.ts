import { memoryEngine } from "otel-taskflow";
import { describeEngine } from "./contract.js";
import type { EngineStore } from "./world.js";

describeEngine({ title: "memory", module: "", create: async () => memoryStore });

const notStored = (): never => {
  throw new Error("the memory engine stores nothing");
};

const memoryStore: EngineStore = {
  location: "",
  engine: memoryEngine,
  addForeign: notStored,
  stateOf: async () => undefined,
  breakSettling: notStored,
  close: async () => {},
};
