/** The machine's limit: fused multiply-adds on registers alone (peers/c/peak.c), measured in turn with everyone else. */
import { join } from 'node:path';
import { C_COMPILER, output, privateFolder } from './native-tools';

export class Peak {
  private constructor(private readonly binary: string) {}

  /** Undefined where there is no C compiler. */
  static async build(log: (line: string) => void): Promise<Peak | undefined> {
    const binary = join(privateFolder(), 'peak');
    const source = join(__dirname, '..', 'peers', 'c', 'peak.c');
    try {
      await output(C_COMPILER, ['-O2', '-march=native', '-ffp-contract=fast', source, '-o', binary, '-lpthread']);
    } catch (error) {
      log(`  FMA peak: left out (${(error as Error).message})`);
      return undefined;
    }
    return new Peak(binary);
  }

  /** GFLOPS of all threads together. */
  async measure(threads: number): Promise<number> {
    return Number.parseFloat(await output(this.binary, [String(threads), '100']));
  }
}
