/** The sources as JavaScript in a temporary folder, for tests that need real processes: Node loads them in a second. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { transformFileSync } from '@swc/core';

const ROOT = resolve(__dirname, '..', '..');
const FOLDERS = ['src', 'tasks', 'learned-optimizers', 'meta-trainers', 'datasets', join('test', 'outer', 'child')];

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  readonly cwd?: string;
  /** Beside this process' own, and before it. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** A folder for files of a test; the caller removes it. */
export function temporaryFolder(): string {
  return realpathSync(mkdtempSync(join(tmpdir(), 'outerloop-test-')));
}

/** A compiled copy of the sources; `dispose` removes it. */
export class CompiledSources {
  readonly root = temporaryFolder();

  constructor() {
    for (const folder of FOLDERS) this.compile(folder);
    // For import(), which does not look at NODE_PATH.
    symlinkSync(join(ROOT, 'node_modules'), join(this.root, 'node_modules'));
  }

  private compile(folder: string): void {
    mkdirSync(join(this.root, folder), { recursive: true });
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) this.compile(path);
      else if (entry.name.endsWith('.ts')) {
        const { code } = transformFileSync(join(ROOT, path), {
          jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
          module: { type: 'commonjs', ignoreDynamic: true },
        });
        writeFileSync(join(this.root, path.replace(/\.ts$/, '.js')), code);
      }
    }
  }

  /** Starts `node SCRIPT …args` with the packages of this repository. */
  start(script: string, args: readonly string[], options: ProcessOptions = {}): ChildProcess {
    return spawn(process.execPath, [join(this.root, script), ...args], {
      cwd: options.cwd ?? this.root,
      env: { ...process.env, NODE_PATH: join(ROOT, 'node_modules'), NO_COLOR: '1', ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  run(script: string, args: readonly string[], options: ProcessOptions = {}): Promise<Finished> {
    return finished(this.start(script, args, options));
  }

  dispose(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

export function finished(child: ChildProcess): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolved, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => resolved({ code, signal, stdout, stderr }));
  });
}
