// Reads from the DER of a certificate (RFC 5280 §4.1, X.690) the fields that `X509Certificate` does not provide. OpenSSL has parsed the certificate
// before, so anything malformed is refused, not repaired.

/** Fields of a certificate's body and signature, as encoded in its DER. */
export interface CertificateEncoding {
  /** Milliseconds since the epoch; the certificate is valid at both ends too (§4.1.2.5). */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Object identifier of the signature algorithm, hexadecimal, without tag and length. */
  readonly signatureAlgorithm: string;
  /** The extensions by object identifier, in hexadecimal as above. */
  readonly extensions: ReadonlyMap<string, Extension>;
  /** The extension basic constraints (§4.2.1.9); undefined when the certificate has none. */
  readonly basicConstraints: BasicConstraints | undefined;
}

export interface BasicConstraints {
  readonly isAuthority: boolean;
  /** Maximum number of authorities below this one in a chain; undefined: any number. */
  readonly pathLength: number | undefined;
}

/** One extension (RFC 5280 §4.2). */
export interface Extension {
  /** Whether a reader that does not know the extension must refuse the certificate. */
  readonly critical: boolean;
  /** The content of the extension, DER. */
  readonly value: Buffer;
}

/** Object identifier of the extension basic constraints. */
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
 * Parses the DER of one certificate.
 * @throws RangeError when it is malformed, or an extension is present twice
 */
export function readCertificate(der: Buffer): CertificateEncoding {
  const [body, algorithm] = elements(onlyContent(der, SEQUENCE));
  const fields = elements(contentOf(body, SEQUENCE));
  // After the version, if there is one: serial number, algorithm, issuer, validity.
  const validity = fields[fields[0]?.tag === VERSION ? 4 : 3];
  const [notBefore, notAfter] = elements(contentOf(validity, SEQUENCE));
  const [oid] = elements(contentOf(algorithm, SEQUENCE));
  const extensions = readExtensions(fields.find(({ tag }) => tag === EXTENSIONS));
  // §4.1.2.9: only a certificate of version 3 has extensions. In other versions, a reader that checks the version would ignore them.
  if (extensions.size > 0 && versionOf(fields[0]) !== 3) throw new RangeError('Extensions require version 3.');
  const constraints = extensions.get(BASIC_CONSTRAINTS)?.value;
  return {
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    signatureAlgorithm: contentOf(oid, OBJECT_IDENTIFIER).toString('hex'),
    extensions,
    basicConstraints: constraints === undefined ? undefined : readBasicConstraints(constraints),
  };
}

/** The version; it is absent for version 1, because DER does not encode a default (X.690 §11.5). */
function versionOf(element: Element | undefined): number {
  if (element?.tag !== VERSION) return 1;
  const version = onlyContent(element.content, INTEGER).toString('hex');
  if (version !== '01' && version !== '02') throw new RangeError('The version is unknown.');
  return Number(version) + 1;
}

/** Parses only the two forms that §4.1.2.5 allows. OpenSSL accepts more forms when it prints dates, and what it prints for them is not reliable. */
function readTime(element: Element | undefined): number {
  const text = element?.content.toString('latin1') ?? '';
  const short = element?.tag === UTC_TIME && /^\d{12}Z$/.test(text);
  if (!short && !(element?.tag === GENERALIZED_TIME && /^\d{14}Z$/.test(text)))
    throw new RangeError('A date is malformed.');
  const digits = short ? `${text < '50' ? '20' : '19'}${text}` : text;
  const iso = digits.replace(/^(....)(..)(..)(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6.000Z');
  const date = new Date(iso);
  // `Date` turns a 30th of February into a day in March.
  if (Number.isNaN(date.getTime()) || date.toISOString() !== iso) throw new RangeError('A date is malformed.');
  return date.getTime();
}

function readExtensions(holder: Element | undefined): Map<string, Extension> {
  const found = new Map<string, Extension>();
  for (const element of holder === undefined ? [] : elements(onlyContent(holder.content, SEQUENCE))) {
    const [oid, extension] = readExtension(element);
    if (found.has(oid)) throw new RangeError('An extension is present twice.');
    found.set(oid, extension);
  }
  return found;
}

/** `SEQUENCE { OBJECT IDENTIFIER, BOOLEAN DEFAULT FALSE, OCTET STRING }` */
function readExtension(element: Element): [oid: string, extension: Extension] {
  const [oid, ...rest] = elements(contentOf(element, SEQUENCE));
  const critical = rest.length > 1 && readTrue(rest.shift());
  if (rest.length > 1) throw new RangeError('An extension has unexpected parts.');
  return [contentOf(oid, OBJECT_IDENTIFIER).toString('hex'), { critical, value: contentOf(rest[0], OCTET_STRING) }];
}

/** `SEQUENCE { BOOLEAN DEFAULT FALSE, INTEGER OPTIONAL }`, and nothing after it. */
function readBasicConstraints(value: Buffer): BasicConstraints {
  const parts = elements(onlyContent(value, SEQUENCE));
  const isAuthority = parts[0]?.tag === BOOLEAN && readTrue(parts.shift());
  const length = parts.shift();
  if (parts.length > 0) throw new RangeError('Basic constraints have unexpected parts.');
  if (length === undefined) return { isAuthority, pathLength: undefined };
  const digits = contentOf(length, INTEGER).toString('hex');
  // An empty or negative path length is malformed; it is treated as 0, so that no authority may be below.
  return { isAuthority, pathLength: /^[0-7]/.test(digits) ? Number(`0x${digits}`) : 0 };
}

/** Parses TRUE, which has only one encoding in DER (X.690 §11.1). FALSE is the default everywhere here, and DER does not encode a default. */
function readTrue(element: Element | undefined): true {
  if (contentOf(element, BOOLEAN).toString('hex') !== 'ff') throw new RangeError('A BOOLEAN is not TRUE in DER.');
  return true;
}

/**
 * The bits of a `keyUsage` value (§4.2.1.3); `digitalSignature` is the lowest bit.
 * @throws RangeError when the value is malformed
 */
export function keyUsageBits(keyUsage: Buffer): number {
  const [, first = 0, second = 0] = onlyContent(keyUsage, BIT_STRING);
  let bits = 0;
  // Bit 0 is the highest bit of the first byte (X.690 §8.6.2.1).
  for (let bit = 0; bit < 16; bit++) if ((((first << 8) | second) >> (15 - bit)) & 1) bits |= 1 << bit;
  return bits;
}

/** Parses `bytes`, up to its end, as a sequence of elements. */
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
  // Three length bytes are enough for any certificate; DER has no indefinite length (0x80).
  const extra = first < 0x80 ? 0 : first - 0x80;
  if (first === 0x80 || extra > 3) throw new RangeError('A length is malformed.');
  const start = at + 2 + extra;
  const end = start + (extra === 0 ? first : bytes.readUIntBE(at + 2, extra));
  if (end > bytes.length) throw new RangeError('An element is longer than the bytes that contain it.');
  return { tag, start, end };
}

/** The content of the element in `bytes`, which must contain exactly one. */
function onlyContent(bytes: Buffer, tag: number): Buffer {
  const [element, ...more] = elements(bytes);
  if (more.length > 0) throw new RangeError('Unexpected bytes follow an element.');
  return contentOf(element, tag);
}

function contentOf(element: Element | undefined, tag: number): Buffer {
  if (element?.tag !== tag) throw new RangeError('An element has an unexpected tag.');
  return element.content;
}
