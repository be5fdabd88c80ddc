export { loadKoffi, type Koffi, type NativeLibrary } from './koffi';
export { Runtime, type Address, type Ran, type Task } from './runtime';
export { CODES, NEEDS_SOURCE } from './source';
