export {
  createEngine,
  ENGINE_NAMES,
  probeEngines,
  type EngineChoice,
  type EngineProbe,
  type LoadPackage,
} from './registry';
export { ReferenceEngine } from './reference/engine';
export type { GraphEngine } from './shared/engine';
export {
  checkLimits,
  nativeDetails,
  type EngineLimits,
  type EngineOptions,
  type NativeDescription,
} from './shared/options';
export { TfjsEngine } from './tfjs/engine';
