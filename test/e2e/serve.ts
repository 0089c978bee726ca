import type { FastifyInstance } from "fastify";
import { sdk } from "./instrumentation.js";

/** Listens, tells the parent process where, and on SIGTERM ends: no more requests, then `drain`, then the telemetry. */
export async function serve(service: FastifyInstance, drain?: () => Promise<unknown>): Promise<void> {
  const orphaned = (): never => process.exit(1);
  process.once("disconnect", orphaned);
  process.once("SIGTERM", async () => {
    await service.close();
    await drain?.();
    await sdk.shutdown();
    process.off("disconnect", orphaned).disconnect();
  });
  process.send?.({ url: await service.listen({ host: "127.0.0.1", port: 0 }) });
}
