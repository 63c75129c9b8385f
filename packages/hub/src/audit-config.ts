import { z } from 'zod';
import { endpointConfig } from './endpoint-config.ts';

const MEBIBYTE = 1_048_576;

/** `audit:` of the configuration. */
export const auditConfig = z.strictObject({
  /** False: no record is kept, and none is begun. */
  enabled: z.boolean().default(true),
  /** Records after which a checkpoint is signed; that many can be cut off unnoticed. */
  checkpointRecords: z.number().int().min(1).max(1_000_000).default(1_000),
  /** Milliseconds after which it is signed however few there are. */
  checkpointMs: z.number().int().min(1_000).max(86_400_000).default(600_000),
  /** Bytes after which another file is begun; each day begins one too. */
  segmentBytes: z
    .number()
    .int()
    .min(65_536)
    .max(1_024 * MEBIBYTE)
    .default(64 * MEBIBYTE),
  /** Where checkpoints go beside the data directory; it should be on another machine. */
  checkpoints: z
    .strictObject({
      /** A file they are appended to, such as one on a mounted share. */
      file: z.string().min(1).optional(),
      /** Where they are posted to as JSON, one each. They are signed and hold no secret. A text is the endpoint's URL. */
      http: z.union([z.string().transform((url) => ({ url })), endpointConfig]).optional(),
    })
    .prefault({}),
});

/** `audit:` as it is used. */
export type AuditConfig = z.infer<typeof auditConfig>;
