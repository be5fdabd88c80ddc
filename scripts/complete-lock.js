// Completes package-lock.json: `node scripts/complete-lock.js`, after every `npm install` that changes it.
//
// Native packages such as @swc/core list one optional package for each platform. Where the registry in use does not carry
// the binaries of other platforms, npm leaves these out of the lock, and `npm ci` then refuses the lock everywhere. Each
// is pinned to an exact version by the package that lists it, and its name says its platform, so the entry can be written
// down here. It has no integrity hash; npm checks the other entries as usual.
const { readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const systems = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'x64'];

const file = join(__dirname, '..', 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const added = [];

for (const [folder, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const words = name.split(/[-/]/);
    const os = systems.find((word) => words.includes(word));
    const cpu = processors.find((word) => words.includes(word));
    const present = `node_modules/${name}` in lock.packages || `${folder}/node_modules/${name}` in lock.packages;
    if (present || os === undefined || cpu === undefined || !/^\d+\.\d+\.\d+/.test(version)) continue;
    const libc = /gnu/.test(words.at(-1)) ? ['glibc'] : /musl/.test(words.at(-1)) ? ['musl'] : undefined;
    const development = entry.dev ? { dev: true } : {};
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...development,
      ...(os === 'linux' && libc ? { libc } : {}),
      optional: true,
      os: [os],
    };
    added.push(`${name}@${version}`);
  }
}

const compare = (a, b) => a.localeCompare(b, 'en');
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => compare(a, b)));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.length === 0 ? 'package-lock.json was complete.' : `Added ${added.join(', ')}.`);
