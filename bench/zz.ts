import { WINDOW_CASES } from './cases';
import { NativeEngine } from '../src/engines/native/engine';
import { ReferenceEngine } from '../src/engines/reference/engine';
import { Windows } from './windows';
async function main() {
  const engine = await NativeEngine.open({});
  const reference = new ReferenceEngine();
  const only = process.argv[2];
  const seen = new Set<string>();
  for (const c of WINDOW_CASES) {
    if (only && !c.name.includes(only)) continue;
    if (c.particles > 200 && c.name.includes("mnist")) continue;
    const problem = await c.problem();
    const t0 = Date.now();
    const p = await engine.compile(problem);
    console.log('=====', problem.name, c.particles, c.window, 'compile', Date.now() - t0);
    if (!seen.has(problem.name)) {
      seen.add(problem.name);
      const r = await reference.compile(problem);
      const a = await (await Windows.start(p, c, c.check.particles)).advance(c.check.steps);
      const b = await (await Windows.start(r, c, c.check.particles)).advance(c.check.steps);
      console.log([...a.result.lossSum].slice(0, 3), [...b.result.lossSum].slice(0, 3), [...a.result.lastLoss].slice(0, 2), [...b.result.lastLoss].slice(0, 2));
      for (const k of p.metrics) console.log(k, a.result.metricSums[k][0], b.result.metricSums[k][0]);
    }
    const w = await Windows.start(p, c, c.particles);
    await w.advance(c.window);
    let best = 1e9;
    for (let i = 0; i < 5; i++) best = Math.min(best, (await w.advance(c.window)).seconds);
    console.log('best', (best * 1e3).toFixed(3), 'ms', (c.particles * c.window / best).toFixed(0), 'particle-steps/s', (c.flopsPerStep * c.particles * c.window / best / 1e9).toFixed(1), 'GFLOPS');
    await p.dispose();
  }
  await engine.dispose();
}
void main();
