import type { Task } from "graphile-worker";
import { tellPartner } from "../partner.js";
import { reach } from "../steps.js";

const resize: Task = async (payload, helpers) => {
  const id = String(helpers.job.id);
  reach("resize", id, "handler");
  await tellPartner("resize", id);
  await helpers.addJob("archive", payload);
};

// biome-ignore lint/style/noDefaultExport: graphile-worker takes a task from there
export default resize;
