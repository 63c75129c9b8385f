import { z } from 'zod';
import { endpointConfig } from './endpoint-config.ts';

const MEBIBYTE = 1_048_576;

/** `audit:` of the configuration. */
export const auditConfig = z.strictObject({
  /** False: no audit log is written. */
  enabled: z.boolean().default(true),
  /** A checkpoint is signed after this many records; up to this many can be removed from the end of the log unnoticed. */
  checkpointRecords: z.number().int().min(1).max(1_000_000).default(1_000),
  /** A checkpoint is signed after this many milliseconds, if there are new records. */
  checkpointMs: z.number().int().min(1_000).max(86_400_000).default(600_000),
  /** Maximum bytes of one file; a new file also begins each day. */
  segmentBytes: z
    .number()
    .int()
    .min(65_536)
    .max(1_024 * MEBIBYTE)
    .default(64 * MEBIBYTE),
  /** Destinations for checkpoints in addition to the data directory; they should be on another machine. */
  checkpoints: z
    .strictObject({
      /** A file to which checkpoints are appended, for example on a mounted share. */
      file: z.string().min(1).optional(),
      /** An endpoint to which each checkpoint is posted as JSON. Checkpoints are signed and contain no secret. A string is the endpoint's URL. */
      http: z.union([z.string().transform((url) => ({ url })), endpointConfig]).optional(),
    })
    .prefault({}),
});

/** The parsed `audit:`. */
export type AuditConfig = z.infer<typeof auditConfig>;
