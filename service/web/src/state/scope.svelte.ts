/**
 * Scope: what may be seen. Its conditions and its order are in the address; what they come to, as one bit a row, is
 * asked from the server once for each change, and is shared by the grid, the map and the counts.
 */
import { bytes, isAborted, patient } from '../lib/api'
import { joined, parsed, subject, type Clause } from '../lib/clauses'
import { address } from './address.svelte'
import { toasts } from './toasts.svelte'

export interface Sort {
  column: string
  descending: boolean
}

class Scope {
  // read as text first: other parts of the address change without these being made anew
  #filter = $derived(address.get('filter'))
  #sort = $derived(address.get('sort'))
  clauses = $derived(parsed(this.#filter))
  /** What the server takes as filter. */
  filter = $derived(joined(this.clauses))
  sort = $derived(readSort(this.#sort))
  /** Rows in scope; null before the first answer. */
  count = $state<number | null>(null)
  /** Rows that are there at all. */
  all = $state<number | null>(null)
  /** One byte a row ever given: 1 in scope. */
  mask = $state.raw<Uint8Array | null>(null)
  /** Of the workspace, as the last answer told it; a change means that what is shown has to be asked again. */
  snapshot = $state(0)
  /** Raised where decisions changed what a filter lets through. */
  revision = $state(0)
  #asked = 0

  add(clause: Clause): void {
    const about = subject(clause)
    this.#set([...this.clauses.filter((one) => subject(one) !== about), clause])
  }

  remove(clause: Clause): void {
    const text = JSON.stringify(clause)
    this.#set(this.clauses.filter((one) => JSON.stringify(one) !== text))
  }

  removeAbout(about: string): void {
    this.#set(this.clauses.filter((one) => subject(one) !== about))
  }

  /** The condition on something, where there is one. */
  about(what: string): Clause | undefined {
    return this.clauses.find((one) => subject(one) === what)
  }

  clear(): void {
    this.#set([])
  }

  order(sort: Sort | null): void {
    address.set({ sort: sort && (sort.descending ? `-${sort.column}` : sort.column) })
  }

  has(row: number): boolean {
    return this.mask === null || this.mask[row] === 1
  }

  /** Ask what the scope comes to. */
  async load(ws: string, filter: Clause | null, signal: AbortSignal): Promise<void> {
    const mine = ++this.#asked
    try {
      const [own, every] = await Promise.all([
        maskOf(ws, filter, signal),
        filter === null ? null : this.all === null ? maskOf(ws, null, signal) : null,
      ])
      if (mine !== this.#asked) return
      this.mask = own.mask
      this.count = own.count
      this.snapshot = own.snapshot
      if (filter === null) this.all = own.count
      else if (every) this.all = every.count
    } catch (error) {
      if (!isAborted(error)) toasts.fail(error)
    }
  }

  forget(): void {
    this.count = this.all = this.mask = null
  }

  #set(clauses: Clause[]): void {
    address.set({ filter: clauses.length ? JSON.stringify(clauses) : null })
  }
}

/** One byte a row from one bit a row, the first row in the highest bit. */
function unpacked(bits: Uint8Array, n: number): Uint8Array {
  const out = new Uint8Array(n)
  for (let row = 0; row < n; row++) out[row] = (bits[row >> 3]! >> (7 - (row & 7))) & 1
  return out
}

/** What a filter lets through. */
export async function maskOf(ws: string, filter: Clause | null, signal?: AbortSignal) {
  const response = await patient(
    () =>
      bytes(`/v1/workspaces/${encodeURIComponent(ws)}/rows/scope`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ filter }),
        signal: signal ?? null,
      }),
    signal,
  )
  const number = (name: string) => Number(response.headers.get(name))
  const bits = new Uint8Array(await response.arrayBuffer())
  return { mask: unpacked(bits, number('x-rows')), count: number('x-count'), snapshot: number('x-snapshot') }
}

function readSort(text: string): Sort | null {
  if (!text) return null
  return text.startsWith('-')
    ? { column: text.slice(1), descending: true }
    : { column: text, descending: false }
}

export const scope = new Scope()
