/**
 * Records of a population that does not fit into memory. They lie in a file, in pages of whole records; a call goes through
 * the pages of its particles chunk by chunk: read, act, write back. Each page has two places in the file. A call writes to
 * the one that is not in use, and places change once all of it is through: a call that is cancelled, or that ends on a full
 * disk, has not been.
 *
 * Where there is memory for two chunks, one is read and written while the other one runs.
 */
import { bytesText } from '../shared/bytes';
import type { ChunkPlan } from './memory';
import { particleWords } from './records';
import type { Driver } from './render/request';
import type { Address, Runtime } from './runtime';
import { SpillFile } from './spill';

/** Bytes that one call of the system reads or writes at most. */
const PIECE = 32 << 20;

/** Particles that are in memory. */
export interface Chunk {
  /** Of their records. */
  readonly memory: Address;
  /** Particles that there is room for there; unused lanes at the population's end do not count. */
  readonly size: number;
  /** Positions within the call's selection, in ascending order of pages. */
  readonly entries: Int32Array;
  /** Where the particle of each entry lies, counted from the first one there. */
  readonly particles: Int32Array;
}

/** Memory of one chunk. */
interface PageBuffer {
  readonly memory: Address;
  /** The same bytes, in pieces. */
  readonly pieces: readonly Uint8Array[];
}

/** Entries of a selection that lie in a chunk's pages. */
interface Cut {
  readonly pages: Int32Array;
  readonly entries: Int32Array;
  readonly particles: Int32Array;
}

type Direction = 'read' | 'write';

export class ChunkedRecords {
  private readonly pageBytes: number;
  private readonly pageParticles: number;
  private readonly allPages: number;
  private readonly file: SpillFile;
  private readonly buffers: readonly PageBuffer[];
  private readonly mappedBytes: number;
  /** The place of each page that is in use, 0 or 1. */
  private readonly places: Uint8Array;

  /** @throws EngineError if there is no room for the file, or no memory after all. */
  constructor(
    private readonly plan: ChunkPlan,
    private readonly driver: Driver,
    private readonly runtime: Runtime,
    /** Particles of the population. */
    private readonly size: number,
    notice?: (text: string) => void,
  ) {
    const { records, pageRecords, pages, buffers, chunks, memoryBytes } = plan;
    this.pageBytes = pageRecords * driver.record;
    this.pageParticles = pageRecords * driver.lanes;
    this.allPages = Math.ceil(records / pageRecords);
    this.places = new Uint8Array(this.allPages);
    const fileBytes = 2 * this.allPages * this.pageBytes;
    const states = `the states of ${size} particles need ${bytesText(records * driver.record)} of memory`;
    const had = `there are ${bytesText(memoryBytes)} for them and the threads`;
    this.file = SpillFile.open(fileBytes, `${states}, ${had}`);
    this.mappedBytes = buffers * pages * this.pageBytes;
    try {
      const memory = runtime.map(this.mappedBytes);
      this.buffers = Array.from({ length: buffers }, (_, i) => this.bufferAt(memory, i * pages, pages));
    } catch (error) {
      this.file.close();
      throw error;
    }
    const where = `${this.file.folder}${this.file.inMemory ? ' (which lies in memory: set TMPDIR to a folder on a disk)' : ''}`;
    const most = Math.min(size, pages * this.pageParticles);
    notice?.(
      `The population runs in ${chunks} chunks of ${most === 1 ? 'one particle' : `at most ${most} particles`}: ` +
        `${states}, ${had}. They are kept in a file of ${bytesText(fileBytes)} in ${where}.`,
    );
  }

  /**
   * Goes through the records of particles: `act` is called once for each chunk, for one at a time or two.
   * @param keep whether what `act` does to the records stays, once all chunks are through; nothing does if one fails
   */
  async each(particles: Int32Array, keep: boolean, act: (chunk: Chunk) => Promise<void>): Promise<void> {
    // Whoever is free takes the next; a failure ends the cuts for all.
    const cuts = this.cuts(particles);
    const changed: Int32Array[] = [];
    let failure: { readonly error: unknown } | undefined;
    const goThrough = async (buffer: PageBuffer): Promise<void> => {
      for (const { pages, ...rest } of cuts) {
        await this.transfer('read', buffer, pages);
        await act({ memory: buffer.memory, size: this.sizeOf(pages), ...rest });
        if (!keep) continue;
        await this.transfer('write', buffer, pages);
        changed.push(pages);
      }
    };
    const fail = (error: unknown): void => {
      failure ??= { error };
    };
    await Promise.all(this.buffers.map((buffer) => goThrough(buffer).catch(fail)));
    if (failure !== undefined) throw failure.error;
    this.swap(changed);
  }

  /** Whole particles to others, none of which is read. */
  async copy(from: Int32Array, to: Int32Array): Promise<void> {
    if (this.buffers.length > 1) {
      await this.copyWithin(this.buffers, this.plan.pages, from, to);
      return;
    }
    // One record fits; a copy needs another one for as long as it takes.
    const bytes = 2 * this.pageBytes;
    const memory = this.runtime.map(bytes);
    try {
      await this.copyWithin([this.bufferAt(memory, 0, 1), this.bufferAt(memory, 1, 1)], 1, from, to);
    } finally {
      this.runtime.unmap(memory, bytes);
    }
  }

  close(): void {
    this.runtime.unmap(this.buffers[0].memory, this.mappedBytes);
    this.file.close();
  }

  private async copyWithin(
    [targets, sources]: readonly PageBuffer[],
    pages: number,
    from: Int32Array,
    to: Int32Array,
  ): Promise<void> {
    const { runtime, driver } = this;
    const changed: Int32Array[] = [];
    for (const target of this.cuts(to, pages)) {
      await this.transfer('read', targets, target.pages);
      const wanted = target.entries.map((entry) => from[entry]);
      for (const source of this.cuts(wanted, pages)) {
        await this.transfer('read', sources, source.pages);
        // Sources lie behind the targets.
        const local = source.particles.map((particle) => pages * this.pageParticles + particle);
        const into = source.entries.map((entry) => target.particles[entry]);
        const address = (array: Int32Array): Address => runtime.koffi.address(array);
        const words = particleWords(targets.memory, driver, address(local), address(into), local.length);
        await runtime.particleCopy(words, [local, into]);
      }
      await this.transfer('write', targets, target.pages);
      changed.push(target.pages);
    }
    this.swap(changed);
  }

  private bufferAt(memory: Address, page: number, pages: number): PageBuffer {
    const start = memory + BigInt(page * this.pageBytes);
    const bytes = pages * this.pageBytes;
    const pieces = Array.from({ length: Math.ceil(bytes / PIECE) }, (_, i) => {
      const length = Math.min(PIECE, bytes - i * PIECE);
      return new Uint8Array(this.runtime.koffi.view(start + BigInt(i * PIECE), length));
    });
    return { memory: start, pieces };
  }

  /** Entries by page, in the order of pages; those of one page in their own order. Particles may occur more than once. */
  private *cuts(particles: Int32Array, most = this.plan.pages): Generator<Cut, void, undefined> {
    const { pageParticles, allPages } = this;
    const ends = new Int32Array(allPages + 1);
    for (let i = 0; i < particles.length; i++) ends[Math.floor(particles[i] / pageParticles) + 1]++;
    for (let page = 0; page < allPages; page++) ends[page + 1] += ends[page];
    const order = new Int32Array(particles.length);
    const next = ends.slice();
    for (let i = 0; i < particles.length; i++) order[next[Math.floor(particles[i] / pageParticles)]++] = i;

    let pages: number[] = [];
    let begin = 0;
    for (let page = 0; page < allPages; page++) {
      if (ends[page + 1] > ends[page]) pages.push(page);
      const end = ends[page + 1];
      if (pages.length < most && end < particles.length) continue;
      if (pages.length === 0) break;
      yield this.cut(Int32Array.from(pages), order.subarray(begin, end), particles);
      pages = [];
      begin = end;
    }
  }

  private cut(pages: Int32Array, entries: Int32Array, particles: Int32Array): Cut {
    const { pageParticles } = this;
    const local = new Int32Array(entries.length);
    for (let i = 0, slot = 0; i < entries.length; i++) {
      const particle = particles[entries[i]];
      const page = Math.floor(particle / pageParticles);
      while (pages[slot] < page) slot++;
      local[i] = slot * pageParticles + (particle - page * pageParticles);
    }
    return { pages, entries, particles: local };
  }

  /** Particles of some pages in memory. */
  private sizeOf(pages: Int32Array): number {
    const missing = pages.at(-1) === this.allPages - 1 ? this.allPages * this.pageParticles - this.size : 0;
    return pages.length * this.pageParticles - missing;
  }

  /** Pages to the start of a buffer from where they are in use, or from there to their other place. */
  private async transfer(direction: Direction, buffer: PageBuffer, pages: Int32Array): Promise<void> {
    const placeOf = (slot: number): number => this.places[pages[slot]] ^ (direction === 'read' ? 0 : 1);
    for (let slot = 0, end: number; slot < pages.length; slot = end) {
      const place = placeOf(slot);
      end = slot + 1;
      while (end < pages.length && pages[end] === pages[end - 1] + 1 && placeOf(end) === place) end++;
      const position = (place * this.allPages + pages[slot]) * this.pageBytes;
      await this.transferRun(direction, buffer, slot * this.pageBytes, end * this.pageBytes, position);
    }
  }

  private async transferRun(
    direction: Direction,
    { pieces }: PageBuffer,
    begin: number,
    end: number,
    position: number,
  ): Promise<void> {
    for (let at = begin, next: number; at < end; at = next) {
      const piece = Math.floor(at / PIECE);
      next = Math.min(end, (piece + 1) * PIECE);
      const bytes = pieces[piece].subarray(at - piece * PIECE, next - piece * PIECE);
      await this.file[direction](bytes, position + (at - begin));
    }
  }

  private swap(changed: readonly Int32Array[]): void {
    for (const pages of changed) for (const page of pages) this.places[page] ^= 1;
  }
}
