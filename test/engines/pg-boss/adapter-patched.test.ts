import { describeAdapter } from "./adapter.js";
import { postgresBackend } from "./backends.js";
import { patchedRoad } from "./roads.js";

const backend = await postgresBackend();
describeAdapter({ ...backend, title: `${backend.title}, patched` }, patchedRoad());
