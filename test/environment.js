// Jest runs tests in a vm context whose typed arrays are not those of Node's own modules, so `instanceof` fails between
// them (files, workers, structuredClone, native code). This environment gives the tests Node's own.
const { TestEnvironment } = require('jest-environment-node');

const own = {
  ArrayBuffer,
  SharedArrayBuffer,
  DataView,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
  Float32Array,
  Float64Array,
};

module.exports = class extends TestEnvironment {
  constructor(...args) {
    super(...args);
    Object.assign(this.global, own);
  }
};
