import { parseOverride, resolveConfig, prepareRun, executeRun, type RunEvent } from '../../src/outer';
import { referenceEngines, testContainer } from './support';

test('quadratic', async () => {
  const container = testContainer();
  const config = resolveConfig({ preset: 'quadratic' }, [parseOverride('iterations=50')], container);
  console.log(config);
  const { plan } = await prepareRun(config, container);
  const events: RunEvent[] = [];
  const result = await executeRun({
    plan,
    opened: await referenceEngines.open('auto'),
    listeners: [(event) => events.push(event)],
  });
  console.log(result.before, result.after, result.theta, result.wallSeconds, events.map((e) => e.type).join(' '));
});
