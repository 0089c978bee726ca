import "@elastic/opentelemetry-node";
import { trace } from "@opentelemetry/api";

export const flush = () => trace.getTracerProvider().getDelegate().forceFlush();
