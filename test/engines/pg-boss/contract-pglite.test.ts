import { afterAll } from "vitest";
import { describeEngine } from "../contract.js";
import { pgliteBackend } from "./backends.js";
import { worldOf } from "./worlds.js";

const backend = await pgliteBackend();
describeEngine(worldOf(backend));
afterAll(() => backend.close());
