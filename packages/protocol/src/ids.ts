import { CulvertError } from './errors.ts';

/** The two ends of a stream. */
export type Side = 'device' | 'service';

/** A device, or one of its modules. It can attach a control channel and be offered streams. */
export interface Identity {
  readonly deviceId: string;
  /** Absent for the device itself. */
  readonly moduleId?: string | undefined;
}

/** Azure's grammar of device and module ids (its quotas page): 1 to 128 of these characters. */
const DEVICE_OR_MODULE_ID = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/;

/**
 * A stream name is part of an MQTT topic, between `/`, `?`, `&` and `=`, and all Azure clients put it unencoded into a URL path (protocol
 * page 2). Therefore only characters that need no escaping in either are allowed.
 */
const STREAM_NAME = /^[A-Za-z0-9\-_.~:@!$'()*,;]{1,128}$/;

/** A `;Key=` that must not be part of an id: the parser of connection strings would end the id before it. */
const SPLITS_CONNECTION_STRING =
  /;(HostName|DeviceId|ModuleId|SharedAccessKeyName|SharedAccessKey|SharedAccessSignature|GatewayHostName|CredentialType|x509)=/i;

/** The name of a certificate authority. It is used only in paths of the REST API. */
const AUTHORITY_NAME = /^[A-Za-z0-9._-]{1,64}$/;

const STREAM_ID = /^[0-9a-f]{32}$/;

/**
 * Checks a device id and returns it. `.` and `..` are refused because URL parsers remove them from paths.
 * @throws CulvertError `argument_invalid`
 */
export function parseDeviceId(text: string): string {
  return parseId('device', text);
}

/**
 * Checks a module id, which follows the rules of device ids, and returns it.
 * @throws CulvertError `argument_invalid`
 */
export function parseModuleId(text: string): string {
  return parseId('module', text);
}

function parseId(what: 'device' | 'module', text: string): string {
  if (!DEVICE_OR_MODULE_ID.test(text)) {
    throw new CulvertError(
      'argument_invalid',
      `'${printable(text)}' is not a ${what} id: 1 to 128 letters, digits or - : . + % _ # * ? ! ( ) , = @ ; $ '`,
    );
  }
  if (text === '.' || text === '..') throw new CulvertError('argument_invalid', `'${text}' cannot be a ${what} id.`);
  if (SPLITS_CONNECTION_STRING.test(text)) {
    throw new CulvertError(
      'argument_invalid',
      `A ${what} id cannot contain a part of a connection string such as ";SharedAccessKey=".`,
    );
  }
  return text;
}

/** `device` or `device/module`, for display and as a key. An id contains no `/`, so every identity has a different name. */
export function identityName({ deviceId, moduleId }: Identity): string {
  return moduleId === undefined ? deviceId : `${deviceId}/${moduleId}`;
}

/** The decoded path of an identity: `devices/{d}` or `devices/{d}/modules/{m}`; used in SAS audiences and AMQP addresses. */
export function identityPath({ deviceId, moduleId }: Identity): string {
  return moduleId === undefined ? `devices/${deviceId}` : `devices/${deviceId}/modules/${moduleId}`;
}

/**
 * Checks the name of a certificate authority and returns it. `.` and `..` are refused because URL parsers remove them from paths.
 * @throws CulvertError `argument_invalid`
 */
export function parseAuthorityName(text: string): string {
  if (!AUTHORITY_NAME.test(text) || text === '.' || text === '..') {
    throw new CulvertError(
      'argument_invalid',
      `'${printable(text)}' is not a name for a certificate authority: 1 to 64 letters, digits or - . _`,
    );
  }
  return text;
}

/**
 * Checks a stream name and returns it.
 * @throws CulvertError `argument_invalid`
 */
export function parseStreamName(text: string): string {
  if (!STREAM_NAME.test(text) || text === '.' || text === '..') {
    throw new CulvertError(
      'argument_invalid',
      `'${printable(text)}' is not a stream name: 1 to 128 letters, digits or - _ . ~ : @ ! $ ' ( ) * , ;`,
    );
  }
  return text;
}

/** A new stream id: 128 random bits as 32 lower-case hexadecimal digits. */
export function newStreamId(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Whether `text` has the form of a stream id. */
export function isStreamId(text: string): boolean {
  return STREAM_ID.test(text);
}

/**
 * Escapes control, line-breaking and bidirectional characters in `text` and cuts it to `max` characters, so that text from
 * clients cannot forge a log line or control a terminal.
 */
export function printable(text: string, max = 256): string {
  const cut = text.length > max ? `${text.slice(0, max)}…` : text;
  return cut.replace(
    /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
