import type { Job } from "bullmq";
import { tellPartner } from "./partner.js";
import { reach } from "./steps.js";

/** Runs what is in the queue `mail`. */
export async function sendMail(job: Job): Promise<string> {
  reach(job.name, job.id, "handler");
  switch (job.name) {
    case "receipt":
    case "digest":
      await tellPartner(job.name, job.id);
      return "sent";
    case "album": {
      const pages = await job.getChildrenValues();
      await tellPartner(job.name, job.id);
      return `${Object.keys(pages).length} pages`;
    }
    default:
      throw new Error(`no mail is called ${job.name}`);
  }
}
