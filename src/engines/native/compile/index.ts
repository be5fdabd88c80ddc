export { build, type BuildOptions, type Built } from './build';
export { cacheFolder, LibraryCache, sha256 } from './cache';
export { findCompiler, type Compiler } from './compiler';
export { NativeCompileError } from './errors';
export { runProgram } from './process';
