// Import it before anything that is to be instrumented: NodeSDK with servers and clients, as an application starts it.
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";

/** Holds every span that has ended. */
export const exporter: InMemorySpanExporter = new InMemorySpanExporter();

new NodeSDK({
  autoDetectResources: false,
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
  instrumentations: [new HttpInstrumentation(), new UndiciInstrumentation()],
}).start();
