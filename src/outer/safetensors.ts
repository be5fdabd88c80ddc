/**
 * The safetensors format (huggingface/safetensors, "Format"): 8 bytes of header length (little-endian), a JSON header
 * `{name: {dtype, shape, data_offsets}, __metadata__: {string: string}}`, then the numbers, little-endian and without
 * gaps. Added to it: `__metadata__.sha256`, over the whole file with that value's 64 digits as zeros, so that damage
 * anywhere is found. Runs wherever JavaScript does: who calls brings the hash.
 */
import { CheckpointError, type ArrayBundle, type NamedArray } from '../contracts';

type Data = NamedArray['data'];

/** Widest first: every tensor then starts at a multiple of its own width. */
const DTYPES = {
  F64: { bytes: 8, array: Float64Array },
  F32: { bytes: 4, array: Float32Array },
  I32: { bytes: 4, array: Int32Array },
  U32: { bytes: 4, array: Uint32Array },
  U8: { bytes: 1, array: Uint8Array },
} as const;
type Dtype = keyof typeof DTYPES;
const ORDER = Object.keys(DTYPES) as Dtype[];

const CHECKSUM = 'sha256';
/** SHA-256 of bytes, 64 hexadecimal digits. */
export type Sha256 = (bytes: Uint8Array) => string;
const NO_CHECKSUM = '0'.repeat(64);
const ALIGNMENT = 8;
const SPACE = 0x20;
/** A character a byte, so that places in the text are those in the bytes. */
const BYTES = new TextDecoder('latin1');
/** The reference implementation's own limit. */
const LARGEST_HEADER = 100_000_000;

export interface SafetensorsFile {
  readonly tensors: ArrayBundle;
  readonly metadata: Readonly<Record<string, string>>;
}

interface HeaderEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

function dtypeOf(data: Data): Dtype {
  // By name, as a typed array may come from another realm.
  const name = Object.prototype.toString.call(data).slice(8, -1);
  const dtype = ORDER.find((candidate) => DTYPES[candidate].array.name === name);
  if (dtype === undefined) throw new CheckpointError(`a checkpoint cannot hold an array of type ${name}.`);
  return dtype;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** The file's bytes. Equal input gives equal bytes: tensors are ordered by dtype, then by name. */
export function encodeSafetensors({ tensors, metadata }: SafetensorsFile, sha256: Sha256): Uint8Array {
  const entries = Object.entries(tensors)
    .map(([name, { shape, data }]) => ({ name, shape, data, dtype: dtypeOf(data) }))
    .sort((a, b) => ORDER.indexOf(a.dtype) - ORDER.indexOf(b.dtype) || (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = { __metadata__: { ...metadata, [CHECKSUM]: NO_CHECKSUM } };
  let offset = 0;
  for (const { name, shape, data, dtype } of entries) {
    if (name === '__metadata__' || sizeOf(shape) !== data.length) {
      throw new CheckpointError(
        `tensor "${name}" of shape [${shape.join(', ')}] cannot hold ${String(data.length)} numbers.`,
      );
    }
    header[name] = { dtype, shape, data_offsets: [offset, offset + data.byteLength] };
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const headerBytes = new Uint8Array(Math.ceil(json.length / ALIGNMENT) * ALIGNMENT).fill(SPACE);
  headerBytes.set(json);
  const file = new Uint8Array(8 + headerBytes.length + offset);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes.length), true);
  file.set(headerBytes, 8);
  let at = 8 + headerBytes.length;
  for (const { data } of entries) {
    file.set(littleEndian(data), at);
    at += data.byteLength;
  }
  file.set(new TextEncoder().encode(sha256(file)), 8 + checksumAt(headerBytes));
  return file;
}

/**
 * @param name what errors call the file
 * @throws CheckpointError if any byte is not as it was written
 */
export function decodeSafetensors(file: Uint8Array, name: string, sha256: Sha256): SafetensorsFile {
  const damaged = (what: string): CheckpointError => new CheckpointError(`${name} is damaged: ${what}.`);
  if (file.length < 8) throw damaged(`it has ${String(file.length)} bytes`);
  const length = new DataView(file.buffer, file.byteOffset, file.byteLength).getBigUint64(0, true);
  if (length > BigInt(LARGEST_HEADER) || Number(length) > file.length - 8) {
    throw damaged(`its header should have ${String(length)} bytes, the file has ${String(file.length)}`);
  }
  const headerBytes = file.subarray(8, 8 + Number(length));
  const digits = checksumAt(headerBytes);
  if (digits < 0) throw damaged('its header has no checksum');
  const stated = BYTES.decode(headerBytes.subarray(digits, digits + 64));
  const blank = Uint8Array.from(file);
  blank.set(new TextEncoder().encode(NO_CHECKSUM), 8 + digits);
  if (sha256(blank) !== stated) throw damaged('its checksum does not fit its bytes');
  // From here on the file is as it was written, by whatever wrote it.
  const { __metadata__: written, ...header } = JSON.parse(new TextDecoder().decode(headerBytes)) as {
    __metadata__: Record<string, string>;
  } & Record<string, HeaderEntry>;
  const { [CHECKSUM]: _checksum, ...metadata } = written;
  const start = 8 + headerBytes.length;
  const tensors: Record<string, NamedArray> = {};
  for (const [tensor, entry] of Object.entries(header as Record<string, HeaderEntry>)) {
    const { dtype, shape, data_offsets: offsets } = entry;
    if (!(dtype in DTYPES)) throw damaged(`tensor "${tensor}" has the unknown dtype ${dtype}`);
    const [from, to] = offsets;
    if (to - from !== sizeOf(shape) * DTYPES[dtype].bytes || start + to > file.length) {
      throw damaged(`tensor "${tensor}" does not fit its place`);
    }
    // A copy: the file's own bytes need not be aligned.
    const buffer = new ArrayBuffer(to - from);
    new Uint8Array(buffer).set(file.subarray(start + from, start + to));
    tensors[tensor] = { shape, data: fromLittleEndian(buffer, dtype) };
  }
  return { tensors, metadata };
}

/** Where the checksum's 64 digits start within the header; −1 if there are none. */
function checksumAt(header: Uint8Array): number {
  const marker = `"${CHECKSUM}":"`;
  // The last one: it is written after the user's metadata, and names of tensors follow as keys of objects.
  const at = BYTES.decode(header).lastIndexOf(marker);
  return at < 0 || at + marker.length + 64 > header.length ? -1 : at + marker.length;
}

const HOST_IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function littleEndian(data: Data): Uint8Array {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return HOST_IS_LITTLE ? bytes : swapped(bytes, data.BYTES_PER_ELEMENT);
}

function fromLittleEndian(buffer: ArrayBuffer, dtype: Dtype): Data {
  const { array, bytes } = DTYPES[dtype];
  if (HOST_IS_LITTLE) return new array(buffer);
  return new array(swapped(new Uint8Array(buffer), bytes).buffer as ArrayBuffer);
}

function swapped(bytes: Uint8Array, width: number): Uint8Array {
  const result = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) result[i - (i % width) + (width - 1 - (i % width))] = bytes[i];
  return result;
}
