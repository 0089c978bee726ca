export type { TaskOrigin } from "../core/carrier.js";
export type {
  Delivery,
  EngineCapabilities,
  EngineHost,
  OpenEngine,
  Settlement,
  StoreAnswer,
  StoredTask,
  StoreEnd,
  TaskEngine,
  TaskMessage,
} from "./engine.js";
export { copyAsJson } from "./json.js";
export { overStore } from "./over-store.js";
