/** Every engine that there is, fastest first. An engine is one row. */
import * as tf from '@tensorflow/tfjs';
import { EngineUnavailableError } from '../../contracts';
import { describeNative } from '../native/describe';
import { NativeEngine } from '../native/engine';
import { ReferenceEngine } from '../reference/engine';
import type { GraphEngine } from '../shared/engine';
import { nativeDetails, type EngineOptions } from '../shared/options';
import { TfjsEngine } from '../tfjs/engine';

/** Loads an optional package by name; rejects if it is not installed. */
export type LoadPackage = (name: string) => Promise<unknown>;

export interface EngineRow {
  readonly name: string;
  /** What it is, for lists. */
  readonly description: string;
  /** Whether `auto` and `tfjs` may pick it. */
  readonly chosenBy: readonly ('auto' | 'tfjs')[];
  /** @throws EngineUnavailableError with the reason and what to do about it. */
  open(load: LoadPackage, options: EngineOptions): Promise<GraphEngine>;
  /** What it finds on this machine, for doctor: label and text. Never throws for something that is missing. */
  details?(): Promise<Readonly<Record<string, string>>>;
}

/** What TensorFlow.js' native backend says about itself, where its package is installed. */
interface NodeBackend {
  readonly isUsingGpuDevice?: boolean;
}

function messageOf(error: unknown): string {
  // Not instanceof: the loader may stand in another realm.
  const message = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
  return String(message).split('\n')[0].replace(/\.$/, '');
}

/** Loads a package that registers a backend; the user's active backend stays what it was. */
async function loadBackend(engine: string, packageName: string, load: LoadPackage): Promise<void> {
  await tf.ready();
  const active = tf.getBackend();
  try {
    await load(packageName);
  } catch (error) {
    throw new EngineUnavailableError(
      engine,
      `${packageName} could not be loaded (${messageOf(error)})`,
      `Install it with "npm install ${packageName}@${tf.version.tfjs}", or choose another engine.`,
    );
  } finally {
    if (tf.getBackend() !== active) await tf.setBackend(active);
  }
}

function nodeRow(name: string, packageName: string, gpu: boolean): EngineRow {
  return {
    name,
    description: gpu ? 'TensorFlow on a CUDA device, through Node' : "TensorFlow's own CPU kernels, through Node",
    chosenBy: ['auto', 'tfjs'],
    async open(load, options) {
      await loadBackend(name, packageName, load);
      if (!('tensorflow' in tf.engine().registryFactory)) {
        throw new EngineUnavailableError(
          name,
          `${packageName} registered no backend with the TensorFlow.js that Outerloop uses`,
          `Install ${packageName} next to @tensorflow/tfjs, in the same version (${tf.version.tfjs}).`,
        );
      }
      const engine = await openBackend(name, 'tensorflow', options);
      if (gpu && (engine.device.backend as unknown as NodeBackend).isUsingGpuDevice !== true) {
        throw new EngineUnavailableError(
          name,
          'TensorFlow sees no CUDA device',
          'Check the driver and the CUDA libraries, or choose another engine.',
        );
      }
      return engine;
    },
  };
}

async function openBackend(name: string, backendName: string, { memoryBytes }: EngineOptions): Promise<TfjsEngine> {
  try {
    return await TfjsEngine.open(name, backendName, memoryBytes === undefined ? {} : { memoryBytes });
  } catch (error) {
    throw new EngineUnavailableError(name, messageOf(error), 'Choose another engine.');
  }
}

export const ENGINE_TABLE: readonly EngineRow[] = [
  nodeRow('tfjs:node-gpu', '@tensorflow/tfjs-node-gpu', true),
  {
    name: 'native',
    description: "whole windows compiled by the machine's C compiler, all cores",
    chosenBy: ['auto'],
    open: (_load, options) => NativeEngine.open(options),
    details: async () => nativeDetails(await describeNative()),
  },
  nodeRow('tfjs:node', '@tensorflow/tfjs-node', false),
  {
    name: 'tfjs:wasm',
    description: 'TensorFlow.js in WebAssembly, one core',
    chosenBy: ['auto', 'tfjs'],
    async open(_load, options) {
      await loadBackend('tfjs:wasm', '@tensorflow/tfjs-backend-wasm', () => import('@tensorflow/tfjs-backend-wasm'));
      return openBackend('tfjs:wasm', 'wasm', options);
    },
  },
  {
    name: 'tfjs:cpu',
    description: 'TensorFlow.js in plain JavaScript, one core',
    chosenBy: ['auto', 'tfjs'],
    open: (_load, options) => openBackend('tfjs:cpu', 'cpu', options),
  },
  {
    name: 'reference',
    description: 'the float64 interpreter that defines every op; slow',
    chosenBy: [],
    open: () => Promise.resolve(new ReferenceEngine()),
  },
];
