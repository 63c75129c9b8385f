import { z } from 'zod';

/** An HTTP endpoint that receives data: `http:` or `https:`, through the outbound proxy if the environment names one. */
export const endpointConfig = z.strictObject({
  url: z.string().max(2_048),
  /** A file of secret headers, one `Name: value` per line; allowed only over `https:`, or to this machine. */
  headersFile: z.string().optional(),
  /** PEM certificates of authorities to trust in addition to those of the system. */
  caFile: z.string().optional(),
});

export type EndpointConfig = z.infer<typeof endpointConfig>;
