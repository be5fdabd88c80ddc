/** What the bits of a run depend on besides its configuration: versions and the CPU's features. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { version } from '../version';

export interface Versions {
  readonly outerloop: string;
  readonly node: string;
  readonly tfjs: string;
}

export interface Machine {
  readonly platform: string;
  readonly architecture: string;
  readonly cpu: string;
  /** SIMD and floating-point features that choose code paths, sorted; empty where the system does not tell. */
  readonly features: readonly string[];
}

const FEATURE = /^(sse|ssse|avx|fma|f16c|amx|asimd|neon|sve|fphp|bf16)/;

function features(): string[] {
  let text: string;
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return [];
  }
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(text);
  return (line?.[1] ?? '')
    .split(/\s+/)
    .filter((word) => FEATURE.test(word))
    .sort();
}

export function thisMachine(): Machine {
  const [first] = cpus() as readonly { readonly model: string }[] as readonly (
    { readonly model: string } | undefined
  )[];
  return {
    platform: process.platform,
    architecture: process.arch,
    cpu: first?.model.trim() ?? 'unknown',
    features: features(),
  };
}

export function theseVersions(): Versions {
  return { outerloop: version, node: process.versions.node, tfjs: tf.version.tfjs };
}

/** What an engine says that its bits depend on; see `UnrollEngine.fingerprint`. */
export type Fingerprint = Readonly<Record<string, string>>;

function fingerprintChanges(then: Fingerprint, now: Fingerprint): string[] {
  return [...new Set([...Object.keys(then), ...Object.keys(now)])]
    .filter((key) => (then as Partial<Fingerprint>)[key] !== (now as Partial<Fingerprint>)[key])
    .map((key) => {
      const [a, b] = [then, now].map((of) => (of as Partial<Fingerprint>)[key] ?? 'none');
      return `${key}: ${a} → ${b}`;
    });
}

/** What differs so that bits may: a list of `what: recorded → here`, empty if nothing does. */
export function differences(
  recorded: { readonly versions: Versions; readonly machine: Machine; readonly fingerprint?: Fingerprint },
  here: { readonly versions: Versions; readonly machine: Machine; readonly fingerprint?: Fingerprint } = {
    versions: theseVersions(),
    machine: thisMachine(),
  },
): string[] {
  const major = (text: string): string => text.split('.')[0];
  const pairs: readonly (readonly [string, string, string])[] = [
    ['Outerloop', recorded.versions.outerloop, here.versions.outerloop],
    ['TensorFlow.js', recorded.versions.tfjs, here.versions.tfjs],
    // V8's own mathematics (exp, log …) may change with it.
    ['Node', major(recorded.versions.node), major(here.versions.node)],
    ['architecture', recorded.machine.architecture, here.machine.architecture],
  ];
  const found = pairs.filter(([, then, now]) => then !== now).map(([what, then, now]) => `${what}: ${then} → ${now}`);
  const lost = recorded.machine.features.filter((feature) => !here.machine.features.includes(feature));
  const gained = here.machine.features.filter((feature) => !recorded.machine.features.includes(feature));
  if (lost.length + gained.length > 0) {
    const words = [...lost.map((feature) => `−${feature}`), ...gained.map((feature) => `+${feature}`)];
    found.push(`CPU features: ${words.join(' ')}`);
  }
  return [...found, ...fingerprintChanges(recorded.fingerprint ?? {}, here.fingerprint ?? {})];
}
