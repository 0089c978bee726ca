import { describeEngine } from "../contract.js";
import { graphileWorld } from "./worlds.js";

describeEngine(await graphileWorld("0.16"));
