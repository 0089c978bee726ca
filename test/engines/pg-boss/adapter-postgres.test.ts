import { describeAdapter } from "./adapter.js";
import { postgresBackend } from "./backends.js";

describeAdapter(await postgresBackend());
