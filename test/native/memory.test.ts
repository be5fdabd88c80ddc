/** What a population takes is planned: resident, on fewer threads, in chunks, or refused. Needs no compiler. */
import { EngineError } from '../../src/contracts';
import { planMemory, type MemoryPlan } from '../../src/engines/native/memory';
import { bytesText } from '../../src/engines/shared/bytes';

const MiB = 2 ** 20;
const SCRATCH = 8 * MiB;
const RECORD = 4 * MiB;

interface Case {
  readonly size: number;
  readonly memoryBytes?: number;
  readonly threads?: number;
  readonly record?: number;
  readonly lanes?: number;
  readonly scratch?: number;
  readonly notice?: (text: string) => void;
}

function planned({ record = RECORD, lanes = 1, scratch = SCRATCH, threads = 4, ...demand }: Case): MemoryPlan {
  const driver = { sources: [], scratch: { init: scratch / 8, step: scratch, finish: 0 }, record, lanes };
  return planMemory({ ...demand, driver, threads });
}

test('records of all particles, and the scratch space of as many threads as fit', () => {
  const notices: string[] = [];
  const notice = (text: string): number => notices.push(text);
  // 10 records of 4 MiB and 8 MiB a thread.
  expect(planned({ size: 10, memoryBytes: 72 * MiB, notice })).toEqual({ threads: 4 });
  expect(notices).toEqual([]);
  expect(planned({ size: 10, memoryBytes: 72 * MiB - 1, notice })).toEqual({ threads: 3 });
  expect(planned({ size: 10, memoryBytes: 48 * MiB, notice })).toEqual({ threads: 1 });
  expect(notices).toEqual([
    'Windows run on 3 of 4 threads, each of which needs 8.0 MiB of memory.',
    'Windows run on 1 of 4 threads, each of which needs 8.0 MiB of memory.',
  ]);
});

test('one byte less than records and one thread need: chunks, with room for two of them', () => {
  const memoryBytes = 48 * MiB - 1;
  // Each thread has a record in both buffers, 16 MiB in all: 2 threads. They leave room for 7 records, 3 a buffer, of which
  // the third would have a thread wait for the other.
  expect(planned({ size: 10, memoryBytes })).toEqual({
    threads: 2,
    chunks: { records: 10, pageRecords: 1, pages: 2, buffers: 2, chunks: 5, memoryBytes },
  });
  // Without a limit, the machine's: no machine has the 2⁵² bytes of these.
  expect(planned({ size: 2 ** 30 }).chunks?.records).toBe(2 ** 30);
});

test('down to one record and one thread, and not below that', () => {
  const least = 12 * MiB;
  expect(planned({ size: 10, memoryBytes: least })).toEqual({
    threads: 1,
    chunks: { records: 10, pageRecords: 1, pages: 1, buffers: 1, chunks: 10, memoryBytes: least },
  });
  const refused = (demand: Case): string => {
    try {
      planned(demand);
    } catch (error) {
      expect(error).toBeInstanceOf(EngineError);
      return (error as EngineError).message;
    }
    throw new Error('it was not refused');
  };
  expect(refused({ size: 10, memoryBytes: least - 1 })).toBe(
    'a population of 10 particles does not fit into memory, not even in chunks: the state of one and the working memory ' +
      'of a thread need 12.0 MiB (4.0 MiB and 8.0 MiB); it may take 12.0 MiB. Allow more (--memory, memoryBytes).',
  );
  expect(refused({ size: 1, memoryBytes: least - 1 })).toContain('need 12.0 MiB (4.0 MiB and 8.0 MiB)');
  // One block of lanes is one record, however many particles there are.
  expect(planned({ size: 16, lanes: 16, memoryBytes: least })).toEqual({ threads: 1 });
  expect(refused({ size: 16, lanes: 16, memoryBytes: least - 1 })).toContain('the states of 16, which run as one,');
  expect(refused({ size: 10, record: 2 ** 52, scratch: 2 ** 51 })).toMatch(
    /need 6291456\.0 GiB \(4194304\.0 GiB and 2097152\.0 GiB\); this machine has [\d.]+ [MG]iB left\. Make the problem/,
  );
});

test.each<Case>([
  { size: 1000, memoryBytes: 100 * MiB, threads: 2 },
  { size: 1000, memoryBytes: 100 * MiB, threads: 3 },
  { size: 77, memoryBytes: 29 * MiB, threads: 2 },
  { size: 100_000, memoryBytes: 4 * MiB, record: 256, lanes: 1, scratch: 4096, threads: 2 },
  { size: 1_000_003, memoryBytes: 3 * MiB, record: 640, lanes: 16, scratch: 5000, threads: 8 },
  { size: 12_345, memoryBytes: 2 ** 40, record: 100 * MiB, scratch: 2 ** 30, threads: 64 },
  { size: 2 ** 26, memoryBytes: 2 ** 30, record: 64, lanes: 1, scratch: 1024, threads: 2 },
])('a plan stays within its memory and goes through everything: %o', (demand) => {
  const { record = RECORD, scratch = SCRATCH, lanes = 1, size } = demand;
  const { threads, chunks } = planned(demand);
  const { records, pageRecords, pages, buffers, chunks: count } = chunks!;
  expect(threads * scratch + buffers * pages * pageRecords * record).toBeLessThanOrEqual(demand.memoryBytes!);
  expect(records).toBe(Math.ceil(size / lanes));
  expect(count * pages * pageRecords).toBeGreaterThanOrEqual(records);
  expect((count - 1) * pages * pageRecords).toBeLessThan(records);
  // No thread is without work, and JavaScript not long at it.
  expect(pages * pageRecords).toBeGreaterThanOrEqual(threads);
  expect(pages * pageRecords * lanes).toBeLessThanOrEqual(Math.max(2 ** 16, 16 * threads));
  // Little is read and written at once for little records only.
  expect(pageRecords === 1 || pageRecords * record <= (256 << 10) + record).toBe(true);
});

test('bytes for people', () => {
  expect([100, 2 ** 10, 2 ** 17 - 1, 2 ** 17, 1.25 * MiB, 2 ** 34].map(bytesText)).toEqual([
    '100 bytes',
    '1.0 KiB',
    '128.0 KiB',
    '0.1 MiB',
    '1.3 MiB',
    '16.0 GiB',
  ]);
});
