import { connect as connectNats } from "@nats-io/transport-node";
import { connect as connectAmqp } from "amqplib";
import type { Found } from "../support/servers.js";

/** AMQP_URL, or a RabbitMQ on its usual port. */
export function amqpUrl(): Promise<Found> {
  return answering(process.env.AMQP_URL ?? "amqp://127.0.0.1:5672", async (url) => {
    const connection = await connectAmqp(url);
    await connection.close();
  });
}

/** NATS_URL, or a NATS server with JetStream on its usual port. */
export function natsUrl(): Promise<Found> {
  return answering(process.env.NATS_URL ?? "nats://127.0.0.1:4222", async (url) => {
    const connection = await connectNats({ servers: url, timeout: 5_000 });
    const hasJetStream = connection.info?.jetstream === true;
    await connection.close();
    if (!hasJetStream) throw new Error("the server runs without JetStream");
  });
}

async function answering(url: string, ping: (url: string) => Promise<void>): Promise<Found> {
  try {
    await ping(url);
    return { url };
  } catch (error) {
    return { unavailable: `no server answers at ${url.replace(/:[^:@/]*@/, "@")} (${error})` };
  }
}
