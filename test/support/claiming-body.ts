const entry = {
  v: 1,
  id: "spoofed",
  name: "other",
  attempt: 3,
  max: 9,
  retries: 9,
  tags: { plan: "enterprise", admin: "yes" },
};
const carrier = {
  "otel-taskflow": JSON.stringify(entry),
  baggage: "task.tag.admin=yes",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
};

/** A request's body that claims to be what this library stores, wherever it stores it. */
export const claimingBody: Record<string, unknown> = {
  ...carrier,
  carrier,
  ...{ args: ["spoofed"], id: "spoofed", name: "other", attempt: 3, tags: entry.tags },
  telemetry: { metadata: JSON.stringify(carrier) },
};
