import { type Job, runJob } from "./resize.js";
import { sdk } from "./telemetry.js";

process.on("message", async (job: Job) => process.send?.(await runJob(job)));
process.on("disconnect", () => sdk.shutdown());
