import { WINDOW_CASES } from './cases';
import { traceProblem } from '../src/graph/trace';
import { lowerProgram } from '../src/engines/native/plan';
async function main() {
  for (const c of WINDOW_CASES) {
    const t0 = Date.now();
    const t = traceProblem(await c.problem());
    const t1 = Date.now();
    const p = lowerProgram(t, { lanes: 16, registers: 32 });
    console.log('=====', c.name, c.particles, p.mode, t1 - t0, Date.now() - t1);
    if (p.mode === 'particle-major') {
      console.log(p.state.bytes, p.step.scratchBytes, p.step.windowBytes);
      for (const l of p.state.leaves) console.log(JSON.stringify(l));
      for (const k of [...p.step.prologue, ...p.step.calls]) console.log(k.kernel.name, k.origin.slice(0, 100), k.places.map((q) => q.arena + ('table' in q ? q.table : '') + '+' + q.offset).join(' '));
    }
  }
}
void main();
