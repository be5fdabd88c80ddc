import { version } from 'outerloop';
import { version as declared } from '../package.json';

test('the library states the version of its package', () => {
  expect(version).toBe(declared);
});
