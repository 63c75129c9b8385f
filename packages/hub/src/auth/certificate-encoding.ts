// What `X509Certificate` does not tell of a certificate, read from its DER (RFC 5280 §4.1, X.690): OpenSSL has parsed it before, so what
// is not as it must be here is refused, not repaired.

/** Of a certificate's body and signature, as its DER holds them. */
export interface CertificateEncoding {
  /** Milliseconds since the epoch; both ends count (§4.1.2.5). */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Object identifier of the algorithm it is signed with, hexadecimal without tag and length. */
  readonly signatureAlgorithm: string;
  /** By object identifier, hexadecimal as above. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** What its basic constraints say (§4.2.1.9); undefined when it has none. */
  readonly basicConstraints: BasicConstraints | undefined;
}

export interface BasicConstraints {
  readonly isAuthority: boolean;
  /** How many authorities may follow one below it; undefined: as many as one likes. */
  readonly pathLength: number | undefined;
}

/** One extension (RFC 5280 §4.2). */
export interface Extension {
  /** Whether who does not know it must refuse the certificate. */
  readonly critical: boolean;
  /** DER. */
  readonly value: Buffer;
}

/** Object identifier of the extension. */
const BASIC_CONSTRAINTS = '551d13';

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
/** `[0] EXPLICIT Version` of a TBSCertificate, and its `[3] EXPLICIT Extensions`. */
const VERSION = 0xa0;
const EXTENSIONS = 0xa3;

interface Element {
  readonly tag: number;
  readonly content: Buffer;
}

/**
 * Reads the DER of one certificate.
 * @throws RangeError when it is not that, or an extension comes twice
 */
export function readCertificate(der: Buffer): CertificateEncoding {
  const [body, algorithm] = elements(onlyContent(der, SEQUENCE));
  const fields = elements(contentOf(body, SEQUENCE));
  // Behind the version, if there is one: serial number, algorithm, issuer, validity.
  const validity = fields[fields[0]?.tag === VERSION ? 4 : 3];
  const [notBefore, notAfter] = elements(contentOf(validity, SEQUENCE));
  const [oid] = elements(contentOf(algorithm, SEQUENCE));
  const extensions = readExtensions(fields.find(({ tag }) => tag === EXTENSIONS));
  // §4.1.2.9: only of version 3 are there extensions. A reader that goes by the version would pass them over.
  if (extensions.size > 0 && versionOf(fields[0]) !== 3) throw new RangeError('Extensions without version 3.');
  const constraints = extensions.get(BASIC_CONSTRAINTS)?.value;
  return {
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    signatureAlgorithm: contentOf(oid, OBJECT_IDENTIFIER).toString('hex'),
    extensions,
    basicConstraints: constraints === undefined ? undefined : readBasicConstraints(constraints),
  };
}

/** The default, 1, is not written (X.690 §11.5). */
function versionOf(element: Element | undefined): number {
  if (element?.tag !== VERSION) return 1;
  const version = onlyContent(element.content, INTEGER).toString('hex');
  if (version !== '01' && version !== '02') throw new RangeError('No such version.');
  return Number(version) + 1;
}

/** The two forms that §4.1.2.5 allows, and no others: OpenSSL's own reading of dates for people takes more, and its guesses are no dates. */
function readTime(element: Element | undefined): number {
  const text = element?.content.toString('latin1') ?? '';
  const short = element?.tag === UTC_TIME && /^\d{12}Z$/.test(text);
  if (!short && !(element?.tag === GENERALIZED_TIME && /^\d{14}Z$/.test(text))) throw new RangeError('No date.');
  const digits = short ? `${text < '50' ? '20' : '19'}${text}` : text;
  const iso = digits.replace(/^(....)(..)(..)(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const date = new Date(iso);
  // A 30th of February reads as a day in March.
  if (Number.isNaN(date.getTime()) || date.toISOString() !== iso) throw new RangeError('No date.');
  return date.getTime();
}

function readExtensions(holder: Element | undefined): Map<string, Extension> {
  const found = new Map<string, Extension>();
  for (const element of holder === undefined ? [] : elements(onlyContent(holder.content, SEQUENCE))) {
    const [oid, extension] = readExtension(element);
    if (found.has(oid)) throw new RangeError('An extension comes twice.');
    found.set(oid, extension);
  }
  return found;
}

/** `SEQUENCE { OBJECT IDENTIFIER, BOOLEAN DEFAULT FALSE, OCTET STRING }` */
function readExtension(element: Element): [oid: string, extension: Extension] {
  const [oid, ...rest] = elements(contentOf(element, SEQUENCE));
  const critical = rest.length > 1 && readTrue(rest.shift());
  if (rest.length > 1) throw new RangeError('An extension has parts that do not belong there.');
  return [contentOf(oid, OBJECT_IDENTIFIER).toString('hex'), { critical, value: contentOf(rest[0], OCTET_STRING) }];
}

/** `SEQUENCE { BOOLEAN DEFAULT FALSE, INTEGER OPTIONAL }`, and nothing behind it. */
function readBasicConstraints(value: Buffer): BasicConstraints {
  const parts = elements(onlyContent(value, SEQUENCE));
  const isAuthority = parts[0]?.tag === BOOLEAN && readTrue(parts.shift());
  const length = parts.shift();
  if (parts.length > 0) throw new RangeError('Basic constraints have parts that do not belong there.');
  if (length === undefined) return { isAuthority, pathLength: undefined };
  const digits = contentOf(length, INTEGER).toString('hex');
  // Empty or negative is malformed, and then nothing may follow.
  return { isAuthority, pathLength: /^[0-7]/.test(digits) ? Number(`0x${digits}`) : 0 };
}

/** True, in its one form (X.690 §11.1); false is a default everywhere here, and a default is not written. */
function readTrue(element: Element | undefined): true {
  if (contentOf(element, BOOLEAN).toString('hex') !== 'ff') throw new RangeError('No BOOLEAN in DER.');
  return true;
}

/**
 * The bits of the value of `keyUsage` (§4.2.1.3), `digitalSignature` being the lowest.
 * @throws RangeError
 */
export function keyUsageBits(keyUsage: Buffer): number {
  const [, first = 0, second = 0] = onlyContent(keyUsage, BIT_STRING);
  let bits = 0;
  // The first bit is the highest of the first byte (X.690 §8.6.2.1).
  for (let bit = 0; bit < 16; bit++) if ((((first << 8) | second) >> (15 - bit)) & 1) bits |= 1 << bit;
  return bits;
}

/** The elements that follow each other in `bytes`, to its end. */
function elements(bytes: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { tag, start, end } = header(bytes, at);
    found.push({ tag, content: bytes.subarray(start, end) });
    at = end;
  }
  return found;
}

function header(bytes: Buffer, at: number): { tag: number; start: number; end: number } {
  const tag = bytes.readUInt8(at);
  const first = bytes.readUInt8(at + 1);
  // A certificate comes in at most three bytes of length; an indefinite length (0x80) is no DER.
  const extra = first < 0x80 ? 0 : first - 0x80;
  if (first === 0x80 || extra > 3) throw new RangeError('A length is malformed.');
  const start = at + 2 + extra;
  const end = start + (extra === 0 ? first : bytes.readUIntBE(at + 2, extra));
  if (end > bytes.length) throw new RangeError('An element is longer than what holds it.');
  return { tag, start, end };
}

/** The content of the one element that `bytes` are. */
function onlyContent(bytes: Buffer, tag: number): Buffer {
  const [element, ...more] = elements(bytes);
  if (more.length > 0) throw new RangeError('Bytes follow that do not belong there.');
  return contentOf(element, tag);
}

function contentOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new RangeError('An element is not the one that is due.');
  return element.content;
}
