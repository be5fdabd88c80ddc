import { version } from 'outerloop';
import { exports as entries, version as declared } from '../package.json';

test('the library states the version of its package', () => {
  expect(version).toBe(declared);
});

test('the package has an entry for Node, one for pages and one for tests of plugins', () => {
  expect(Object.keys(entries)).toEqual(['.', './browser', './register', './package.json']);
});
