import * as Sentry from "@sentry/node";

const dsn = process.env.RECEIVER.replace("://", "://key@").concat("/1");
Sentry.init({ dsn, tracesSampleRate: 1, propagateTraceparent: true });

export const options = { onLog: ({ level, message, fields }) => Sentry.logger[level](message, fields) };

export const flush = () => Sentry.flush(5_000);
