/** One of our engines in a process of its own (worker.ts). */
import { fork, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { WINDOW_CASES } from '../cases';
import type { Answers, EngineRequest, Reply, RequestName, Requests } from '../protocol';
import type { Candidate, Readiness } from './candidate';

export class EngineProcess {
  private readonly child: ChildProcess;

  constructor(
    readonly engine: string,
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.child = fork(join(__dirname, '..', 'worker.ts'), {
      execArgv: ['-r', 'ts-node/register'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // TensorFlow logs its CPU features there.
      env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2', ...environment },
    });
  }

  ask<K extends RequestName>(name: K, body: Requests[K]): Promise<Answers[K]> {
    return new Promise((resolve, reject) => {
      const settle = (reply: Reply): void => {
        this.child.off('exit', exited);
        if (reply.ok) resolve(reply.body as Answers[K]);
        else reject(new Error(`${this.engine}, ${name}: ${reply.error}`));
      };
      const exited = (code: number | null, signal: string | null): void => {
        this.child.off('message', settle);
        reject(new Error(`${this.engine}, ${name}: its process ended (${signal ?? `exit code ${code}`})`));
      };
      this.child.once('message', settle);
      this.child.once('exit', exited);
      this.child.send({ name, body });
    });
  }

  close(): void {
    if (this.child.connected) this.child.disconnect();
  }
}

/** Uses a process for as long as `use` takes. */
export async function inProcess<T>(
  engine: string,
  use: (running: EngineProcess) => Promise<T>,
  environment: Readonly<Record<string, string>> = {},
): Promise<T> {
  const running = new EngineProcess(engine, environment);
  try {
    return await use(running);
  } finally {
    running.close();
  }
}

/** The check's window by the float64 reference engine. */
export function expectedLosses(index: number): Promise<Answers['check']> {
  return inProcess('reference', async (reference) => {
    await reference.ask('open', { engine: 'reference', case: index });
    return reference.ask('check', {});
  });
}

/** The larger of two deviations; a NaN is the largest, and stays. */
export function worseOf(worst: number, found: number): number {
  return Number.isNaN(worst) || found <= worst ? worst : found;
}

/** Largest deviation of the losses from the reference's, relative to the size of each. */
function deviation(got: Answers['check'], expected: Answers['check']): number {
  let worst = 0;
  for (const which of ['lossSum', 'lastLoss'] as const) {
    expected[which].forEach((value, i) => {
      const found = Math.abs(got[which][i] - value) / Math.abs(value);
      worst = worseOf(worst, found);
    });
  }
  return worst;
}

/** Windows of a case on one of our engines. */
export class EngineCandidate implements Candidate {
  private readonly process: EngineProcess;
  private compileSeconds: number | undefined;

  constructor(
    readonly name: string,
    private readonly request: EngineRequest,
    private readonly index: number,
    private readonly expected: Answers['check'],
  ) {
    this.process = new EngineProcess(request.engine);
  }

  async check(): Promise<string> {
    const { check } = WINDOW_CASES[this.index];
    const { compileSeconds } = await this.process.ask('open', { ...this.request, case: this.index });
    this.compileSeconds = compileSeconds;
    const found = deviation(await this.process.ask('check', {}), this.expected);
    const what = `${check.steps} steps of ${check.particles} particles differ from float64 by ${found.toExponential(1)}`;
    if (!(found <= check.tolerance)) throw new Error(`${what}; at most ${check.tolerance} is right`);
    return what;
  }

  async start(): Promise<Readiness> {
    const { seconds } = await this.process.ask('start', {});
    return { seconds, compileSeconds: this.compileSeconds };
  }

  async round(): Promise<number> {
    return (await this.process.ask('round', {})).seconds;
  }

  async peak(): Promise<number> {
    return (await this.process.ask('peak', {})).bytes;
  }

  close(): void {
    this.process.close();
  }
}
