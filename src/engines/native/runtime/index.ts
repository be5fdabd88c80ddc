export { loadKoffi, type Koffi, type NativeLibrary } from './koffi';
export { loadLibrary } from './load';
export { Runtime, type Address, type Ran, type Task } from './runtime';
export { CODES, NEEDS_SOURCE } from './source';
