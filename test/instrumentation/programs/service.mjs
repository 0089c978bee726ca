// A service as an ES module: it knows nothing of this library but getTaskContext().
import { Queue, Worker } from "bullmq";
import { getTaskContext } from "otel-taskflow";
import { serve } from "./serve.cjs";

await serve({ Queue, Worker, getTaskContext });
