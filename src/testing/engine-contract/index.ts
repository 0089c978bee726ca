export { type ContractTest, type EngineContractOptions, engineContract } from "./engine-contract.js";
export type { ContractTelemetry } from "./run-case.js";
export type { EngineStore, EngineWorld, StoredState, StoreOffer } from "./world.js";
