import type { Task } from "graphile-worker";
import { tellPartner } from "../partner.js";
import { reach } from "../steps.js";

const sweep: Task = async (_payload, helpers) => {
  const id = String(helpers.job.id);
  reach("sweep", id, "handler");
  await tellPartner("sweep", id);
};

// biome-ignore lint/style/noDefaultExport: graphile-worker takes a task from there
export default sweep;
