import { z } from 'zod';
import { endpointConfig } from './endpoint-config.ts';

/** `tracing:` of the configuration. */
export const tracingConfig = z.strictObject({
  /** Base URL of a collector that takes OTLP over HTTP, usually port 4318; `/v1/traces` is added. */
  endpoint: z.url({ protocol: /^https?$/ }),
  /** As for every endpoint that is told things. */
  headersFile: endpointConfig.shape.headersFile,
  caFile: endpointConfig.shape.caFile,
  /** The share of handshakes that is traced when the caller brings no trace of its own; with one, its own decision holds. */
  sampleRatio: z.number().min(0).max(1).default(1),
});

/** `tracing:` as it is used. */
export type TracingConfig = z.infer<typeof tracingConfig>;
