import { log } from "./log.js";
import { reach } from "./steps.js";

/** Tells a partner, in another process, of what has happened. Rejects where it does not want to know. */
export async function tellPartner(job: string, id: string | undefined): Promise<void> {
  reach(job, id, "helper");
  const response = await fetch(`${process.env.PARTNER_URL}/${job}`, { method: "POST" });
  await response.text();
  log.info({ job, status: response.status }, "told the partner");
  if (!response.ok) throw new Error(`the partner answered ${response.status}`);
}
