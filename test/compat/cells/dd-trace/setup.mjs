import "dd-trace/register.js";
import tracer from "dd-trace";

tracer.init({ url: process.env.RECEIVER, flushInterval: 100, startupLogs: false, remoteConfig: { enabled: false } });
const provider = new tracer.TracerProvider();
provider.register();

export const flush = () => provider.forceFlush();
