import { z } from 'zod';
import { endpointConfig } from './endpoint-config.ts';

/** `tracing:` of the configuration. */
export const tracingConfig = z.strictObject({
  /** Base URL of a collector that accepts OTLP over HTTP, usually port 4318; `/v1/traces` is added. */
  endpoint: z.url({ protocol: /^https?$/ }),
  /** The same as for every HTTP endpoint, like `caFile`. */
  headersFile: endpointConfig.shape.headersFile,
  caFile: endpointConfig.shape.caFile,
  /** The share of handshakes that is traced when the caller sends no trace context; otherwise the caller's sampling decision applies. */
  sampleRatio: z.number().min(0).max(1).default(1),
});

/** The parsed `tracing:`. */
export type TracingConfig = z.infer<typeof tracingConfig>;
