// A processor file: BullMQ runs it in a process of its own.
import type { SandboxedJob } from "bullmq";
import { tellPartner } from "./partner.js";
import { reach } from "./steps.js";

async function render(job: SandboxedJob): Promise<number> {
  reach(job.name, job.id, "handler");
  await tellPartner(job.name, job.id);
  return job.data.page;
}

// biome-ignore lint/style/noDefaultExport: BullMQ takes a processor from there
export default render;
