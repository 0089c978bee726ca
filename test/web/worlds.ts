import { expressWorlds } from "./express-world.js";
import { fastifyWorld } from "./fastify-world.js";
import { honoWorld } from "./hono-world.js";
import type { WebWorld } from "./world.js";

export const webWorlds: readonly WebWorld[] = [fastifyWorld, ...expressWorlds, honoWorld];
