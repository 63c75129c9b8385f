import { AUTHENTICATION_TYPES, type AuthenticationView, CulvertError } from '@culvert/protocol';
import { z } from 'zod';
import type { Authentication } from '../../registry/registry.ts';
import { newKey } from '../../registry/shared-access-policies.ts';

// Keys that Azure accepts: base64 of 16 to 64 bytes. Empty means "generate one".
const key = z
  .string()
  .regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, 'must be base64')
  .refine((text) => text === '' || (bytesOf(text) >= 16 && bytesOf(text) <= 64), 'must be 16 to 64 bytes long')
  .nullish();

// SHA-1 or SHA-256 in hexadecimal as tools print it: upper or lower case, with or without colons. Empty means "none".
const thumbprint = z
  .string()
  .max(128)
  .transform((text) => text.replaceAll(':', '').toUpperCase())
  .refine((text) => /^(?:[0-9A-F]{40}|[0-9A-F]{64})?$/.test(text), 'must be 40 or 64 hexadecimal digits')
  .nullish();

function bytesOf(text: string): number {
  return Buffer.from(text, 'base64').length;
}

/** Credentials in a request. */
export const authenticationInput = z
  .looseObject({
    type: z.enum(AUTHENTICATION_TYPES).nullish(),
    symmetricKey: z.looseObject({ primaryKey: key, secondaryKey: key }).nullish(),
    x509Thumbprint: z.looseObject({ primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint }).nullish(),
  })
  .nullish();
export type AuthenticationInput = z.infer<typeof authenticationInput>;

/**
 * Builds credentials from the request and, for an update, the current ones: within the same type, omitted fields are kept. Missing keys
 * are generated; an empty thumbprint is removed.
 * @throws CulvertError `argument_invalid` for certificates without any thumbprint
 */
export function authenticationFrom(input: AuthenticationInput, current?: Authentication): Authentication {
  const type = input?.type ?? inferredType(input) ?? current?.type ?? 'sas';
  switch (type) {
    case 'sas': {
      const kept = current?.type === type ? current : undefined;
      return {
        type,
        primaryKey: input?.symmetricKey?.primaryKey || kept?.primaryKey || newKey(),
        secondaryKey: input?.symmetricKey?.secondaryKey || kept?.secondaryKey || newKey(),
      };
    }
    case 'selfSigned': {
      const kept = current?.type === type ? current : undefined;
      const primaryThumbprint = input?.x509Thumbprint?.primaryThumbprint ?? kept?.primaryThumbprint ?? '';
      const secondaryThumbprint = input?.x509Thumbprint?.secondaryThumbprint ?? kept?.secondaryThumbprint ?? '';
      if (primaryThumbprint === '' && secondaryThumbprint === '') {
        throw new CulvertError('argument_invalid', "Authentication of type 'selfSigned' needs a thumbprint.");
      }
      return { type, primaryThumbprint, secondaryThumbprint };
    }
    default:
      return { type };
  }
}

/** Clients of early versions sent thumbprints without a type. */
function inferredType(input: AuthenticationInput): 'selfSigned' | undefined {
  const { primaryThumbprint, secondaryThumbprint } = input?.x509Thumbprint ?? {};
  return input?.symmetricKey?.primaryKey
    ? undefined
    : primaryThumbprint || secondaryThumbprint
      ? 'selfSigned'
      : undefined;
}

/** Credentials in Azure's format: fields that the type does not have are null. */
export function authenticationView(authentication: Authentication): AuthenticationView {
  const { type } = authentication;
  const keys = type === 'sas' ? authentication : undefined;
  const thumbprints = type === 'selfSigned' ? authentication : undefined;
  return {
    type,
    symmetricKey: { primaryKey: keys?.primaryKey ?? null, secondaryKey: keys?.secondaryKey ?? null },
    x509Thumbprint: {
      primaryThumbprint: thumbprints?.primaryThumbprint || null,
      secondaryThumbprint: thumbprints?.secondaryThumbprint || null,
    },
  };
}
