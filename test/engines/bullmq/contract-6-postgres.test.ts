import { afterAll } from "vitest";
import { describeEngine } from "../contract.js";
import { postgresWorld } from "./worlds.js";

const world = await postgresWorld();
describeEngine(world);
afterAll(() => world.close());
