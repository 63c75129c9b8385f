import { didYouMean, printable } from '@culvert/protocol';
import type { z } from 'zod';

/** An error in a configuration. */
export interface ConfigIssue {
  /** The top-level key that contains the error, or the unknown top-level key. */
  readonly key: string;
  /** The key and its error; for an unknown key, also the known key that may have been meant. */
  readonly text: string;
}

/** The first error in a configuration that the schema has refused. */
export function firstIssue(schema: z.ZodType, error: z.ZodError): ConfigIssue {
  const [issue] = error.issues;
  if (issue === undefined) return { key: '', text: 'unknown' };
  const where = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    const name = [...where, printable(key, 64)].join('.');
    return { key: where[0] ?? key, text: `there is no key '${name}'${didYouMean(key, knownKeys(schema, where))}` };
  }
  return { key: where[0] ?? '', text: `${where.length === 0 ? '' : `${where.join('.')}: `}${issue.message}` };
}

/** The keys of the object at `path`; empty when there is no object. */
function knownKeys(schema: z.ZodType, path: readonly string[]): readonly string[] {
  let shape = shapeOf(schema);
  for (const key of path) shape = shapeOf(shape[key]);
  return Object.keys(shape);
}

/** The properties of an object schema, also when it is wrapped to be optional or to have a default. */
function shapeOf(schema: unknown): Readonly<Record<string, unknown>> {
  let inner: unknown = schema;
  for (let depth = 0; depth < 4 && typeof inner === 'object' && inner !== null; depth++) {
    if ('shape' in inner && typeof inner.shape === 'object' && inner.shape !== null)
      return inner.shape as Readonly<Record<string, unknown>>;
    const def: unknown = 'def' in inner ? inner.def : undefined;
    inner = typeof def === 'object' && def !== null && 'innerType' in def ? def.innerType : undefined;
  }
  return {};
}
