import { parentPort } from "node:worker_threads";
import { type Job, runJob } from "./resize.js";
import { sdk } from "./telemetry.js";

parentPort?.on("message", async (message: Job | "stop") => {
  if (message !== "stop") return parentPort?.postMessage(await runJob(message));
  await sdk.shutdown();
  parentPort?.close();
});
