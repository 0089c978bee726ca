// What `node --import` takes for a service of ES modules: the same set-up, and OpenTelemetry's hook for them.
import { register } from "node:module";
import "./otel.js";

register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
