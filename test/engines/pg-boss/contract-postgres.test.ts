import { afterAll } from "vitest";
import { describeEngine } from "../contract.js";
import { postgresBackend } from "./backends.js";
import { worldOf } from "./worlds.js";

const backend = await postgresBackend();
describeEngine(worldOf(backend));
afterAll(() => backend.close());
