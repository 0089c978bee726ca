import type { Task } from "graphile-worker";
import { tellPartner } from "../partner.js";
import { reach } from "../steps.js";

const archive: Task = async (_payload, helpers) => {
  const id = String(helpers.job.id);
  reach("archive", id, "handler");
  await tellPartner("archive", id);
};

// biome-ignore lint/style/noDefaultExport: graphile-worker takes a task from there
export default archive;
