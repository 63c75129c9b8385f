import type { HostName } from './host-name.ts';

// RFC 5280 §4.2.1.10, in DER: NameConstraints ::= SEQUENCE { permittedSubtrees [0] SEQUENCE OF SEQUENCE { base GeneralName } }

export const NAME_CONSTRAINTS_OID = '2.5.29.30';

const SEQUENCE = 0x30;
const PERMITTED_SUBTREES = 0xa0;
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/** The extension's value for an authority that may sign only for these names. For an address in 127.0.0.0/8 it permits that whole network. */
export function nameConstraints(names: readonly HostName[]): Buffer {
  const subtrees = new Map(names.map((name) => [subtree(name).toString('hex'), subtree(name)]));
  return der(SEQUENCE, der(PERMITTED_SUBTREES, Buffer.concat([...subtrees.values()])));
}

/**
 * Whether an authority with constraints from {@link nameConstraints} permits exactly this name. Each permitted subtree is a separate element of the
 * certificate, so the certificate contains the encoding of the subtree unchanged.
 */
export function permits(authority: Buffer, name: HostName): boolean {
  return authority.includes(subtree(name));
}

function subtree(name: HostName): Buffer {
  return der(
    SEQUENCE,
    name.kind === 'dns' ? der(DNS_NAME, Buffer.from(name.text, 'ascii')) : der(IP_ADDRESS, network(name.bytes)),
  );
}

/** Address and mask: 127.0.0.0/8 for an address in that network, otherwise the single address. */
function network(bytes: Buffer): Buffer {
  if (bytes.length === 4 && bytes[0] === 127) return Buffer.from([127, 0, 0, 0, 255, 0, 0, 0]);
  return Buffer.concat([bytes, Buffer.alloc(bytes.length, 0xff)]);
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...bytes]), content]);
}
