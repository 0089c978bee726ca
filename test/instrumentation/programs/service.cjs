// The same service in CommonJS.
const { Queue, Worker } = require("bullmq");
const { getTaskContext } = require("otel-taskflow");
const { serve } = require("./serve.cjs");

serve({ Queue, Worker, getTaskContext });
