import { LOG_CATEGORIES } from '@culvert/protocol';
import { z } from 'zod';
import { endpointConfig } from './endpoint-config.ts';

/** Settings of the hub's own store for the resource log. */
export const logsConfigSchema = z
  .strictObject({
    /** Days a record is kept; records are deleted a whole day at a time. */
    retentionDays: z.number().int().min(1).max(3_650).default(30),
    /** Maximum bytes of all records; when they take more, the oldest are deleted. At least 16 MiB, since a sixteenth of it is deleted at a time. */
    maxBytes: z
      .number()
      .int()
      .min(16 * 1_048_576)
      .max(1_099_511_627_776)
      .default(1_073_741_824),
    /** `resourceId` of the records. Default: the hub's host name. */
    resourceId: z.string().min(1).max(512).optional(),
    /** `location` of the records. Default: the hub's host name. */
    location: z.string().min(1).max(128).optional(),
  })
  .prefault({});

const target = z.strictObject({
  file: z
    .strictObject({
      path: z.string().min(1),
      /** Maximum bytes of one file; at least 1 MiB, so that a batch fits. */
      maxBytes: z.number().int().min(1_048_576).max(1_099_511_627_776).default(104_857_600),
      /** Files kept in addition to the current one. */
      keep: z.number().int().min(0).max(1_000).default(10),
    })
    .optional(),
  stdout: z.literal(true).optional(),
  http: endpointConfig.optional(),
  otlp: endpointConfig.optional(),
});

/** The destinations of records. Can be set only in the configuration file, so that nobody can change them over the network. */
export const diagnosticsConfigSchema = z
  .array(
    z.strictObject({
      name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, . - or _'),
      categories: z
        .array(z.enum(LOG_CATEGORIES))
        .min(1)
        .default([...LOG_CATEGORIES]),
      to: target.refine((to) => Object.values(to).filter((value) => value !== undefined).length === 1, {
        message: 'must name exactly one of file, stdout, http and otlp',
      }),
    }),
  )
  .max(16)
  .superRefine((settings, context) => {
    const unique = (what: string, values: readonly (string | undefined)[]) => {
      const given = values.filter((value) => value !== undefined);
      const twice = given.find((value, index) => given.indexOf(value) !== index);
      if (twice !== undefined) context.addIssue({ code: 'custom', message: `${what} '${twice}' is there twice` });
    };
    unique(
      'the name',
      settings.map(({ name }) => name),
    );
    // Two writers of one file would each rotate it while the other is writing.
    unique(
      'the file',
      settings.map(({ to }) => to.file?.path),
    );
    unique(
      'the target',
      settings.map(({ to }) => (to.stdout === true ? 'stdout' : undefined)),
    );
  })
  .default([]);

export type LogsConfig = z.infer<typeof logsConfigSchema>;
export type DiagnosticSetting = z.infer<typeof diagnosticsConfigSchema>[number];
