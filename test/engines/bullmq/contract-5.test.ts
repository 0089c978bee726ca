import { describeEngine } from "../contract.js";
import { redisWorld } from "./worlds.js";

describeEngine(await redisWorld("5"));
