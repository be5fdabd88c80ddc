/** The little of koffi that is used, typed; loaded when the first native engine opens. */
import { EngineUnavailableError } from '../../../contracts';

/** A function of a library: called at once, or on a thread of its own with the result handed to a callback. */
export interface NativeFunction<Arguments extends readonly unknown[], Result> {
  (...args: Arguments): Result;
  async(...args: [...Arguments, (error: Error | null, result: Result) => void]): void;
}

export interface NativeLibrary {
  func(definition: string): NativeFunction<never[], never>;
  symbol(name: string): bigint;
  unload(): void;
}

export interface Koffi {
  load(path: string): NativeLibrary;
  /** Where the bytes of an array lie. They stay there for as long as the array is referenced. */
  address(data: ArrayBufferView): bigint;
  /** A view of native memory. */
  view(address: bigint, bytes: number): ArrayBuffer;
}

/** @throws EngineUnavailableError if koffi is not installed or has no build for this machine. */
export async function loadKoffi(load: (name: string) => Promise<unknown> = (name) => import(name)): Promise<Koffi> {
  try {
    const loaded = (await load('koffi')) as { readonly default?: Koffi } & Koffi;
    return loaded.default ?? loaded;
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n')[0].replace(/\.$/, '') : String(error);
    throw new EngineUnavailableError(
      'native',
      `koffi could not be loaded (${message})`,
      'Install it with "npm install koffi", or choose another engine.',
    );
  }
}
