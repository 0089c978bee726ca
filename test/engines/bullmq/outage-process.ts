// Runs a task that never ends, and shuts down when its standard input has ended.
import { once } from "node:events";
import { TaskManager } from "otel-taskflow";
import { openStore } from "./worlds.js";

const store = await openStore(process.argv[2] ?? "");
const tasks = new TaskManager({ engine: store.engine() });
const hangs = tasks.task("hangs", () => {
  console.log("running");
  return new Promise(() => {});
});
await tasks.addTask(hangs);
await tasks.work();
await once(process.stdin.resume(), "end");
await tasks.shutdown({ timeout: 100 });
console.log("shut down");
