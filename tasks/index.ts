/** Tasks, whole problems, and the presets made of them. */
import type { Registrar } from '../src/contracts';
import { registerMlp } from './mlp';

export { mlp, type MlpActivation, type MlpInit, type MlpOptions } from './mlp';

/** One line a task or problem. */
export function registerTasks(registrar: Registrar): void {
  registerMlp(registrar);
}
