import { X509Certificate } from 'node:crypto';
import { type AuthorityView, CulvertError, parseAuthorityName } from '@culvert/protocol';
import { z } from 'zod';
import { readCertificate } from '../../auth/certificate-encoding.ts';
import { authorityFault } from '../../auth/certificate-rules.ts';
import { thumbprint } from '../../auth/client-certificate.ts';
import type { AuthorityRecord } from '../../registry/registry.ts';
import type { Authorization } from '../authorization.ts';
import type { Api, ApiDeps } from '../deps.ts';

const params = z.object({ name: z.string() });
const body = z.strictObject({ certificate: z.string().max(16_384) });

/** The authorities whose device certificates the hub accepts: `/certificate-authorities`. A Culvert extension, so errors are RFC 9457 problem documents. */
export function authorityRoutes(api: Api, deps: ApiDeps, authorization: Authorization): void {
  const { authorities, clock, onEvent } = deps;
  const config = { errors: 'problem' as const };
  const readOptions = { config, ...authorization.to('registry.read') };
  const writeOptions = { config, ...authorization.to('registry.write') };
  const tags = ['certificate-authorities'];

  api.get('/certificate-authorities', { ...readOptions, schema: { tags } }, async () => {
    return { authorities: (await authorities.list()).map(view) };
  });

  const path = '/certificate-authorities/:name';
  api.get(path, { ...readOptions, schema: { params, tags } }, async (request) => {
    const record = await authorities.get(parseAuthorityName(request.params.name));
    if (record === undefined) throw new CulvertError('authority_not_found');
    return view(record);
  });

  api.put(path, { ...writeOptions, schema: { params, body, tags } }, async (request) => {
    const name = parseAuthorityName(request.params.name);
    const record = parseAuthority(name, request.body.certificate, clock.now());
    await authorities.put(record);
    onEvent({
      type: 'authority-changed',
      change: 'added',
      authority: name,
      principal: authorization.principal(request).name,
    });
    return view(record);
  });

  api.delete(path, { ...writeOptions, schema: { params, tags } }, async (request, reply) => {
    const name = parseAuthorityName(request.params.name);
    await authorities.delete(name);
    onEvent({
      type: 'authority-changed',
      change: 'removed',
      authority: name,
      principal: authorization.principal(request).name,
    });
    return reply.code(204).send();
  });
}

function parseAuthority(name: string, pem: string, now: number): AuthorityRecord {
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length !== 1) {
    throw new CulvertError('argument_invalid', 'One certificate in PEM form is wanted, the authority itself.');
  }
  const certificate = read(certificates[0] as string);
  const fault = authorityFault(certificate);
  if (fault !== undefined) throw new CulvertError('argument_invalid', `The certificate ${fault}.`);
  // A certificate that is not valid yet may be registered in advance.
  const { notAfter } = readCertificate(certificate.raw);
  if (notAfter < now) {
    throw new CulvertError('argument_invalid', `The certificate expired on ${new Date(notAfter).toISOString()}.`);
  }
  return { name, certificate: certificate.toString(), thumbprint: thumbprint(certificate.fingerprint256) };
}

function read(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new CulvertError('argument_invalid', 'The certificate cannot be read.', { cause: error });
  }
}

function view({ name, certificate, thumbprint }: AuthorityRecord): AuthorityView {
  const { subject, raw } = new X509Certificate(certificate);
  const { notBefore, notAfter } = readCertificate(raw);
  return {
    name,
    // Undefined when the certificate's subject is empty.
    subject: (subject ?? '').replaceAll('\n', ', '),
    thumbprint,
    notBefore: new Date(notBefore).toISOString(),
    notAfter: new Date(notAfter).toISOString(),
    certificate,
  };
}
