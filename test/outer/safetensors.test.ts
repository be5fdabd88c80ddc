import { CheckpointError, type ArrayBundle } from '../../src/contracts';
import { decodeSafetensors, encodeSafetensors } from '../../src/outer/run-directory';

const tensors: ArrayBundle = {
  bytes: { shape: [3], data: Uint8Array.of(0, 127, 255) },
  theta: { shape: [2, 2], data: Float64Array.of(Math.PI, -0, 5e-324, Number.MAX_VALUE) },
  'population/state': { shape: [2], data: Float32Array.of(NaN, -Infinity) },
  workers: { shape: [], data: Int32Array.of(-(2 ** 31)) },
  keys: { shape: [1, 2], data: Uint32Array.of(0xffffffff, 1) },
  none: { shape: [0], data: new Float32Array(0) },
};
const metadata = { format: 'test', note: 'quotes " and "sha256":"0000 and ünïcode' };
const file = encodeSafetensors({ tensors, metadata });

const bits = (data: ArrayBundle[string]['data']): string =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');

test('round trip, bit for bit, with signed zeros, NaN and denormals', () => {
  const read = decodeSafetensors(file, 'file');
  expect(read.metadata).toEqual(metadata);
  expect(Object.keys(read.tensors).sort()).toEqual(Object.keys(tensors).sort());
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    expect(read.tensors[name].shape).toEqual(shape);
    expect(read.tensors[name].data.constructor.name).toBe(data.constructor.name);
    expect(bits(read.tensors[name].data)).toBe(bits(data));
  }
});

test('the layout is that of the format, written out by hand', () => {
  const { length } = file;
  const header = Number(Buffer.from(file).readBigUInt64LE(0));
  expect(header % 8).toBe(0);
  const json = Buffer.from(file.subarray(8, 8 + header)).toString('utf8');
  const entries = JSON.parse(json) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  expect(entries.theta).toEqual({ dtype: 'F64', shape: [2, 2], data_offsets: [0, 32] });
  expect(entries.workers).toMatchObject({ dtype: 'I32', shape: [] });
  expect(entries.keys).toMatchObject({ dtype: 'U32', shape: [1, 2] });
  expect(entries.bytes).toMatchObject({ dtype: 'U8', shape: [3] });
  expect(entries['population/state']).toMatchObject({ dtype: 'F32', shape: [2] });
  // No gaps, and no bytes after the last tensor: 4·8 + 2·4 + 1·4 + 2·4 + 3.
  expect(length - 8 - header).toBe(55);
  // IEEE 754: π is 0x400921fb54442d18, little-endian.
  expect(Buffer.from(file.subarray(8 + header, 16 + header)).toString('hex')).toBe('182d4454fb210940');
});

test('equal contents give equal files, whatever the order of the names', () => {
  const reversed = Object.fromEntries(Object.entries(tensors).reverse());
  expect(Buffer.from(encodeSafetensors({ tensors: reversed, metadata })).equals(file)).toBe(true);
});

test('one changed byte is found, wherever it is', () => {
  for (let at = 0; at < file.length; at++) {
    const damaged = Uint8Array.from(file);
    damaged[at] ^= 1 << (at % 8);
    expect(() => decodeSafetensors(damaged, 'checkpoint 7')).toThrow(CheckpointError);
    expect(() => decodeSafetensors(damaged, 'checkpoint 7')).toThrow('checkpoint 7 is damaged');
  }
});

test('a file that was cut or grew is found, whatever the length', () => {
  for (let length = 0; length < file.length; length++) {
    expect(() => decodeSafetensors(file.subarray(0, length), 'file')).toThrow('file is damaged');
  }
  expect(() => decodeSafetensors(Buffer.concat([file, Buffer.alloc(8)]), 'file')).toThrow('file is damaged');
});

test('what cannot be written is refused', () => {
  const wrong = { x: { shape: [3], data: new Float32Array(2) } };
  expect(() => encodeSafetensors({ tensors: wrong, metadata: {} })).toThrow('of shape [3] cannot hold 2 numbers');
  const other = { x: { shape: [1], data: new Int8Array(1) as unknown as Uint8Array } };
  expect(() => encodeSafetensors({ tensors: other, metadata: {} })).toThrow(
    'a checkpoint cannot hold an array of type Int8Array',
  );
});
