/** Encodes AMQP 1.0 byte by byte, for input that no AMQP library would produce. */

const bytes = (...parts: (number | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'number' ? Buffer.of(part) : part)));

const uint32 = (value: number): Buffer => {
  const four = Buffer.alloc(4);
  four.writeUInt32BE(value);
  return four;
};

/** The protocol header of 8 bytes that is sent before the SASL frames (3) and before the AMQP frames (0). */
export const amqpHeader = (protocol: 0 | 3): Buffer => bytes(Buffer.from('AMQP'), protocol, 1, 0, 0);

/** Encoders of AMQP values. Where the specification has several encodings of a type, only one of them is here. */
export const amqpValue = {
  null: Buffer.of(0x40),
  true: Buffer.of(0x41),
  false: Buffer.of(0x42),
  ubyte: (value: number): Buffer => bytes(0x50, value),
  ushort: (value: number): Buffer => bytes(0x60, value >> 8, value & 0xff),
  uint: (value: number): Buffer => bytes(0x70, uint32(value)),
  ulong: (value: number): Buffer => bytes(0x53, value),
  string: (text: string): Buffer => bytes(0xb1, uint32(Buffer.byteLength(text)), Buffer.from(text)),
  symbol: (text: string): Buffer => bytes(0xb3, uint32(text.length), Buffer.from(text)),
  binary: (content: Uint8Array): Buffer => bytes(0xb0, uint32(content.length), content),
  list: (...elements: Uint8Array[]): Buffer => compound(0xd0, elements),
  map: (...keysAndValues: Uint8Array[]): Buffer => compound(0xd1, keysAndValues),
  /** @param elements the encoded elements, each without its type code, which is `code` for all of them */
  array: (code: number, count: number, elements: Uint8Array): Buffer =>
    bytes(0xf0, uint32(5 + elements.length), uint32(count), code, elements),
  described: (descriptor: number, value: Uint8Array): Buffer => bytes(0, 0x53, descriptor, value),
};

function compound(code: number, elements: Uint8Array[]): Buffer {
  const content = Buffer.concat(elements);
  return bytes(code, uint32(4 + content.length), uint32(elements.length), content);
}

/** Creates a frame with any content. */
export function amqpRawFrame(content: Uint8Array, { type = 0, channel = 0 } = {}): Buffer {
  return bytes(uint32(8 + content.length), 2, type, channel >> 8, channel & 0xff, content);
}

/** Creates a frame with a performative and the payload after it. @param code the descriptor of the performative */
export function amqpFrame(
  code: number,
  fields: Uint8Array[],
  { channel = 0, type = 0, payload = Buffer.alloc(0) }: { channel?: number; type?: number; payload?: Uint8Array } = {},
): Buffer {
  const performative = amqpValue.described(code, amqpValue.list(...fields));
  return amqpRawFrame(bytes(performative, payload), { type, channel });
}

const { null: none, true: yes, false: no, uint, ubyte, string, symbol, binary, described, list, map } = amqpValue;

/** Creates the frames that a device sends; the parameters let a test change them. */
export const amqpFrames = {
  saslInit: (mechanism: string, response: Uint8Array = Buffer.alloc(0)): Buffer =>
    amqpFrame(0x41, [symbol(mechanism), binary(response)], { type: 1 }),
  open: (): Buffer => amqpFrame(0x10, [string('device'), string('hub.example')]),
  begin: (channel = 0): Buffer => amqpFrame(0x11, [none, uint(0), uint(2_048), uint(2_048)], { channel }),
  /** Attaches a link on which the device sends to `address` or receives from it. */
  attach: (
    handle: number,
    role: 'sends' | 'receives',
    address: string,
    { channel = 0, name = `l${handle}` } = {},
  ): Buffer => {
    const source = described(0x28, list(string(address)));
    const target = described(0x29, list(string(address)));
    const fields = [string(name), uint(handle), role === 'receives' ? yes : no, ubyte(2), ubyte(0), source, target];
    return amqpFrame(0x12, [...fields, none, no, uint(0)], { channel });
  },
  flow: (handle: number, credit: number, { channel = 0 } = {}): Buffer =>
    amqpFrame(0x13, [uint(0), uint(2_048), uint(0), uint(2_048), uint(handle), uint(0), uint(credit)], { channel }),
  transfer: (
    handle: number,
    deliveryId: number,
    payload: Uint8Array,
    { channel = 0, more = false, format = 0 } = {},
  ): Buffer => {
    const fields = [
      uint(handle),
      uint(deliveryId),
      binary(Buffer.of(deliveryId & 0xff)),
      uint(format),
      no,
      more ? yes : no,
    ];
    return amqpFrame(0x14, fields, { channel, payload });
  },
  disposition: (role: 'sender' | 'receiver', first: number, last: number, { channel = 0 } = {}): Buffer => {
    const accepted = described(0x24, list());
    return amqpFrame(0x15, [role === 'receiver' ? yes : no, uint(first), uint(last), yes, accepted], { channel });
  },
  detach: (handle: number, { channel = 0 } = {}): Buffer => amqpFrame(0x16, [uint(handle), yes], { channel }),
  end: (channel = 0): Buffer => amqpFrame(0x17, [], { channel }),
  close: (): Buffer => amqpFrame(0x18, []),
  /** Creates a message whose body is a string. */
  message: (body: string): Buffer => described(0x77, string(body)),
  /** Creates a CBS message that puts a token. @param type the type of the token, by default the one that Azure's C client sends */
  putToken: (name: string, type = 'servicebus.windows.net:sastoken'): Buffer => {
    const properties = [
      ...[string('operation'), string('put-token'), string('type'), string(type)],
      ...[string('name'), string(name)],
    ];
    return bytes(described(0x74, map(...properties)), described(0x77, string('token')));
  },
};
