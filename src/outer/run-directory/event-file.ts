/**
 * TensorBoard's event files: records of TFRecord (length, its checksum, bytes, their checksum), each an Event of
 * tensorflow/core/util/event.proto with scalars as `simple_value`.
 */

/** Of a polynomial bit by bit, reflected: CRC-32C (Castagnoli), RFC 3720. */
const CASTAGNOLI = 0x82f63b78;
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? CASTAGNOLI : 0);
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ byte) & 0xff];
  return ~crc >>> 0;
}

/** As TFRecord stores checksums: rotated and shifted, since it sums bytes that hold sums. */
function masked(bytes: Uint8Array): Buffer {
  const crc = crc32c(bytes);
  return fixed(4, (view) => view.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0));
}

/** A record of TFRecord. */
export function frame(bytes: Uint8Array): Buffer {
  const length = fixed(8, (view) => view.writeBigUInt64LE(BigInt(bytes.length)));
  return Buffer.concat([length, masked(length), bytes, masked(bytes)]);
}

function fixed(size: number, write: (view: Buffer) => void): Buffer {
  const view = Buffer.alloc(size);
  write(view);
  return view;
}

// Protocol buffers: a field is its number and wire type, then its value.
const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

/** Of an integer from 0 to 2⁵³. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}

const field = (number: number, type: number, value: Uint8Array): Buffer =>
  Buffer.concat([varint(number * 8 + type), value]);
const integer = (number: number, value: number): Buffer => field(number, VARINT, varint(value));
const double = (number: number, value: number): Buffer =>
  field(
    number,
    FIXED_64,
    fixed(8, (view) => view.writeDoubleLE(value)),
  );
const float = (number: number, value: number): Buffer =>
  field(
    number,
    FIXED_32,
    fixed(4, (view) => view.writeFloatLE(value)),
  );
const message = (number: number, ...fields: readonly Buffer[]): Buffer => {
  const bytes = Buffer.concat(fields);
  return field(number, BYTES, Buffer.concat([varint(bytes.length), bytes]));
};
const text = (number: number, value: string): Buffer => message(number, Buffer.from(value));

/** What a file begins with. A viewer that follows the folder drops all that it has read from earlier files of it. */
export function firstEvents(wallTime: number): Buffer {
  const version = Buffer.concat([double(1, wallTime), text(3, 'brain.Event:2')]);
  // SessionLog.START at step 0, which is what an absent step is.
  const start = Buffer.concat([double(1, wallTime), message(7, integer(1, 1))]);
  return Buffer.concat([frame(version), frame(start)]);
}

/**
 * Scalars of one step, by tag; kept as float32.
 * @param wallTime seconds since 1970
 */
export function scalarEvent(wallTime: number, step: number, scalars: Readonly<Record<string, number>>): Buffer {
  const values = Object.entries(scalars).map(([tag, value]) => message(1, text(1, tag), float(2, value)));
  return frame(Buffer.concat([double(1, wallTime), integer(2, step), message(5, ...values)]));
}
