/**
 * npm run bench:docs: writes docs/performance.md from results/*.json, and from the notes beside them. With --check it
 * only fails if the page is another one.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { tablesOf, type TextTable } from './tables';
import { verdicts } from './targets';
import type { SavedResults } from './timings';

const RESULTS = join(__dirname, 'results');
const TARGET = join(__dirname, '..', 'docs', 'performance.md');

const INTRODUCTION = `# Performance

<!-- Written by npm run bench:docs from bench/results. Edit bench/docs.ts or bench/results/*.md, not this file. -->

\`\`\`
npm run bench                                     # all cases, every engine and peer that is here
npm run bench -- mnist-window influence           # some cases
npm run bench -- --engines native --peers jax     # one engine, one peer
npm run bench -- --rounds 9 --seconds 60          # more rounds, more patience
npm run bench -- --json                           # a line of JSON a row
npm run bench -- --save my-machine                # also bench/results/my-machine.json
npm run bench:docs                                # this page from bench/results
\`\`\`

Peers: \`bench/peers/jax/setup.sh\` makes the virtual environment of the JAX peer (pinned, git-ignored); \`setup.sh python3 CHECKOUT\`
adds google/learned_optimization's own meta-training step; \`OUTERLOOP_JAX_PYTHON\` names another Python that has JAX, and peer
\`jax-gpu\` is JAX on the machine's graphics card, with products in float32 and not TF32. Hand-written C
takes part where \`OUTERLOOP_REFERENCE_C\` or \`--reference-c\` names a folder that has it; most of it needs AVX-512. The
limit of the machine is measured by \`bench/peers/c/peak.c\`: fused multiply-adds on registers alone, all threads.

## What is measured

1. **Correctness first.** Each engine runs a window on a few particles; its losses are held against the float64
   reference engine's. JAX's are held against float64 loops in numpy on the same draws, the C against loops of its own.
   Beyond the case's tolerance (\`bench/cases\`) nothing is timed.
2. **A process a candidate.** Peak memory is the high-water mark of that process: Node or Python, libraries, the data set
   and the population together.
3. **Interleaved rounds.** The candidates take turns, and so does the measurement of the FMA peak. Rates are medians over
   rounds; a ratio is the median of the rounds' own ratios, so that a machine that is slow for a while is slow for both.
   A candidate whose single round would take more than twice \`--seconds\` is left out, and the table says so.
4. **A round** goes from the call of \`advance\` until all losses are on the host: drawing each pair's noise and the
   minibatches is in it. JAX's round draws its own noise and minibatches within one jitted call, until
   \`block_until_ready\`; its state's buffers are donated. The population goes on from window to window, as in training.
   N counts particles. Rounds of many windows go on for 1.5 s before the first that counts, until the JavaScript between
   windows is compiled, as JAX's code was.
5. **JAX** is written as its users write it: one particle's step, \`vmap\` over particles, \`lax.scan\` over the window, one
   \`jit\` over all; images decoded to float32 before the window; minibatches gathered for each pair.

| case            | problem                                                                                                                            | operations of an inner step                                                                                         |
| --------------- | ---------------------------------------------------------------------------------------------------------------------------------- | ------------------------------------------------------------------------------------------------------------------- |
| \`mnist-window\`  | schedule of SGD with momentum, MLP 784-100-100-10, batch 100, and a fresh validation batch for the objective, loss or accuracy     | 55.8 M: products only, 2·100·(2·89400 + 11000) + 2·100·89400                                                        |
| \`lopt-window\`   | per-parameter MLP 19-32-32-2 as the optimizer of an MLP with GELU, batch 128, validation loss after the update                     | products of the inner MLP, and 2·(8·32 + 32·32 + 32·2) a parameter: the time features' share is one vector for all  |
| \`adafac-window\` | AdafacMlp 39-4-4-2 in its place                                                                                                    | products of the inner MLP, and 2·(28·4 + 4·4 + 4·2) a parameter: other work per parameter does not count              |
| \`conv-window\`   | schedule of SGD with momentum, four layers of 3 × 3 taps and 32 channels on CIFAR-10's shape, batch 32, validation loss            | products of all layers, padding as what it is multiplied as                                                         |
| \`lorenz-window\` | two trajectories of a Lorenz system; 100 windows a round                                                                                                | 30                                                                                                                  |
| \`influence\`     | influence balancing, 23 numbers; 300 windows of one step, noise anew in each; the matrix as a matrix (dense) or as shifts (banded) | 1107 dense, 95 banded                                                                                               |
| \`tbptt-window\`  | windows of W steps that give the gradient of their mean loss by θ: the MLP of \`mnist-window\` with the logarithm of each step's learning rate as θ (200 of them); the problem of \`lopt-window\` | |
| \`outer\`         | whole outer iterations, as a run does them: \`mnist-lr\` as \`npm start\` has it, \`lorenz\` by NRES with 200 pairs and W = 100; \`lopt-notebook\`, a per-parameter MLP on 64-32-10, batch 128, by PES with 16 pairs and W = 10, beside google/learned_optimization |                                                                                                                     |
| \`compile\`       | \`mnist-window\`, in fresh processes                                                                                                 |                                                                                                                     |
| \`threads\`       | one thread against two                                                                                                             |                                                                                                                     |
| \`curves\`        | the cost of an inner step against W, T, the number of windows done and N                                                           |                                                                                                                     |
| \`fit\`           | within \`model.fit\`: an update by a learned optimizer beside the model's own \`variableGrads\`, 784-128-10 at batch 128, in turn in one process | |
| \`tfjs-overhead\` | where the time of a tfjs window goes, 100 particles each                                                                           |                                                                                                                     |
| \`tfjs-forms\`    | the products of 16 particles, in each form that a backend can be asked for them                                                    |                                                                                                                     |

In \`tbptt-window\` every particle runs at θ itself. \`native\` keeps everything that the way back needs; _recomputing_ has one byte
less than that takes; _forward_ gives losses alone; _tangent_ the derivative along one direction. Losses and each particle's
gradient are held against those of the float64 reference engine, relative to the gradient's norm; JAX's against central
differences of the float64 loop. JAX's is \`value_and_grad\` of the mean over particles, so that it need not keep the particles'
gradients apart as ours does; _checkpointed_ has \`jax.checkpoint\` around the step. _Memory stated_ is what the program said
before its first window, _measured_ by how much the process grew over that window.

In \`influence\` JAX has all 300 windows in one jitted scan, ours is called 300 times. Among JAX's outer iterations of
\`lorenz\`, _as released_ computes what the code released with the NRES paper computes (keys, noise and resets at every
inner step), in one jitted scan instead of a call for each; the others draw and reset once a window. learned_optimization's
meta-loss in \`lopt-notebook\` is that of the training batch before the update, as its notebooks have it, which spares it a
forward pass that ours has: a fresh training batch after the update.
`;

const TFJS_NOTES = `_Kernels_: inside TensorFlow.js' kernel functions. _Host loops_: inside the engine's own loops that stand in for a kernel
(gathers, elementwise chains, reductions over memory that it shares with the backend). _Draws_: inside the filling of
random numbers. _Overhead_ is all the rest: scheduling, allocation, views, perturbing θ, reading losses. Problems of a few
numbers are bound by the call of each op, whatever the backend: what they need is a window compiled as a whole.
\`src/engines/tfjs/forms.ts\` chooses between the forms of a product, in GFLOPS below.
`;

const ENDING = `## Loading MNIST

0.12–0.17 s and 50 MB: the IDX files are read once and used where they lie, SHA-256 included. Resized to 8 × 8: 0.2 s,
16 × 16: 0.45 s, and 5 and 18 MB more.
`;

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function section({ title, head, rows }: TextTable, level: string): string {
  return `${level} ${title}\n\n${markdown(head, rows)}\n`;
}

function machineLine({ machine, commands }: SavedResults): string {
  const { cpu, cores, vectors, memoryBytes, node, compiler, gpu, loadAverage } = machine;
  const parts = [
    cpu,
    `${cores} cores`,
    ...(vectors === undefined ? [] : [vectors]),
    `${Math.round(memoryBytes / 2 ** 30)} GiB`,
    `Node ${node}`,
    ...(compiler === undefined ? [] : [compiler]),
    ...(gpu === undefined ? [] : [gpu]),
  ];
  const load = loadAverage.map((value) => value.toFixed(1)).join(' before and ');
  return `${parts.join(', ')}; by ${commands.map((command) => `\`${command}\``).join(', ')}. Load average of five minutes: ${load} after.`;
}

/** One machine: targets first, then every table; a file of the same name with .md adds what numbers do not say. */
function machineSection(name: string, saved: SavedResults): string {
  const { cases, tfjs } = tablesOf(saved.results);
  const parts = [`## ${name}\n`, machineLine(saved), ''];
  const judged = verdicts(saved.results);
  if (judged.some(({ met }) => met !== undefined)) {
    const met = (value: boolean | undefined): string => (value === undefined ? '–' : value ? 'yes' : '**no**');
    const rows = judged.map(({ row, target, measured, met: value }) => [row, target, measured, met(value)]);
    parts.push(
      '### Targets\n',
      'A window is also good enough at 90 % of the hand-written C in the same run.\n',
      markdown(['case', 'target', 'measured', 'met'], rows),
      '',
    );
  }
  const notes = join(RESULTS, `${name}.md`);
  if (existsSync(notes)) parts.push(readFileSync(notes, 'utf8'));
  parts.push(...cases.map((table) => section(table, '###')));
  if (tfjs.length > 0) {
    parts.push('### Inside tfjs\n', TFJS_NOTES, ...tfjs.map(({ head, rows }) => `${markdown(head, rows)}\n`));
  }
  return parts.join('\n');
}

/** The whole page, formatted as the repository formats Markdown. */
async function performancePage(): Promise<string> {
  const names = readdirSync(RESULTS)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort();
  const sections = names.map((name) =>
    machineSection(name, JSON.parse(readFileSync(join(RESULTS, `${name}.json`), 'utf8')) as SavedResults),
  );
  const text = [INTRODUCTION, ...sections, ENDING].join('\n');
  return format(text, { ...(await resolveConfig(TARGET)), parser: 'markdown' });
}

async function main(check: boolean): Promise<void> {
  const page = await performancePage();
  if (!check) writeFileSync(TARGET, page);
  else if (readFileSync(TARGET, 'utf8') !== page) {
    throw new Error('docs/performance.md is not what bench/results give: run npm run bench:docs');
  }
}

main(process.argv.includes('--check')).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
