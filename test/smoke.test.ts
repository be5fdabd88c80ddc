import { version } from 'outerloop';
import { exports as entries, version as declared } from '../package.json';

test('the library states the version of its package', () => {
  expect(version).toBe(declared);
});

test('the package has an entry for Node and one for pages', () => {
  expect(Object.keys(entries)).toEqual(['.', './browser', './package.json']);
});
