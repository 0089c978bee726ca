import { describeAdapter } from "./adapter.js";
import { pgliteBackend } from "./backends.js";

describeAdapter(await pgliteBackend());
