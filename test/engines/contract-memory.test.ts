import { memoryEngine } from "otel-taskflow";
import { describeEngine } from "./contract.js";

describeEngine({
  ...{ title: "memory", durable: false },
  create: async () => ({ engine: memoryEngine, close: async () => {} }),
});
