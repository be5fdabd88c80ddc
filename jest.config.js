// Two projects: `npm test` runs "quick" only, `npm run test:full` runs both.
const shared = {
  testEnvironment: '<rootDir>/test/environment.js',
  setupFiles: ['<rootDir>/test/setup.js'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
        module: { type: 'commonjs' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: { '^outerloop$': '<rootDir>/src/index.ts' },
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/runs/'],
};

module.exports = {
  maxWorkers: 2,
  // Not Jest's 5 s: a C compiler that shares two cores takes as long for a program of a test. `--testTimeout` still counts.
  testTimeout: 30_000,
  reporters: ['default', '<rootDir>/test/reporter.js'],
  projects: [
    {
      ...shared,
      displayName: 'quick',
      testMatch: ['<rootDir>/test/**/*.test.ts'],
      testPathIgnorePatterns: ['/node_modules/', '<rootDir>/test/full/'],
    },
    { ...shared, displayName: 'full', testMatch: ['<rootDir>/test/full/**/*.test.ts'] },
  ],
};
