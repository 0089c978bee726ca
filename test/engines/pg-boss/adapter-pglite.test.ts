import { describeAdapter } from "./adapter.js";
import { pgliteBackend } from "./backends.js";

describeAdapter(pgliteBackend());
