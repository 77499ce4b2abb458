/**
 * Selection: what an action applies to. Rows chosen by hand, or everything in scope less some, so that "all" costs no
 * ids. It survives changes of the scope and is in the address as long as it stays short.
 */
import type { Clause } from '../lib/clauses'
import { read, written } from '../lib/ranges'
import { address } from './address.svelte'
import { scope } from './scope.svelte'

const LONGEST = 3000 // characters in the address

class Selection {
  /** Chosen rows, or where `filter` is set those left out of it. */
  rows = $state.raw<ReadonlySet<number>>(new Set())
  /** Set where everything that a filter lets through is meant; `{}` stands for no filter. */
  filter = $state.raw<Clause | null>(null)
  #mask: Uint8Array | null = null
  #whole = 0
  isTooLong = $derived(this.#text().length > LONGEST)
  n = $derived(this.filter === null ? this.rows.size : this.#whole - this.rows.size)
  outside = $derived.by(() => {
    if (this.filter !== null || scope.mask === null) return 0
    let n = 0
    for (const row of this.rows) if (!scope.has(row)) n++
    return n
  })

  has(row: number): boolean {
    return this.filter === null ? this.rows.has(row) : this.#mask?.[row] === 1 && !this.rows.has(row)
  }

  toggle(row: number): void {
    const rows = new Set(this.rows)
    if (!rows.delete(row)) rows.add(row)
    this.#set(rows, this.filter)
  }

  /** Choose rows, or take the choice from them. */
  put(some: Iterable<number>, chosen: boolean): void {
    const rows = new Set(this.rows)
    for (const row of some) {
      if (chosen === (this.filter === null)) rows.add(row)
      else rows.delete(row)
    }
    this.#set(rows, this.filter)
  }

  only(some: Iterable<number>): void {
    this.#set(new Set(some), null)
  }

  /** Everything in scope. */
  all(): void {
    this.#mask = scope.mask
    this.#whole = scope.count ?? 0
    this.#set(new Set(), scope.filter ?? {})
  }

  /** What in scope is not chosen. */
  invert(): void {
    if (this.filter !== null && JSON.stringify(this.filter) === JSON.stringify(scope.filter ?? {})) {
      this.#set(new Set(this.rows), null)
      return
    }
    const mask = scope.mask ?? new Uint8Array()
    const rows = new Set<number>()
    for (let row = 0; row < mask.length; row++) if (mask[row] === 1 && !this.has(row)) rows.add(row)
    this.#set(rows, null)
  }

  clear(): void {
    this.#set(new Set(), null)
  }

  /** As a filter that lets exactly these through. */
  asFilter(): Clause {
    const list: Clause = { rows: [...this.rows] }
    if (this.filter === null) return list
    const parts: Clause[] = Object.keys(this.filter).length === 0 ? [] : [this.filter]
    if (this.rows.size) parts.push({ not: list })
    return { and: parts }
  }

  /** The body of a route that takes rows or a filter. */
  body(): { rows: number[]; filter?: null } | { filter: Clause; rows: number[] } {
    return this.filter === null ? { rows: [...this.rows] } : { filter: this.asFilter(), rows: [] }
  }

  /** Some of the chosen rows, for showing. */
  first(n: number): number[] {
    if (this.filter === null) return [...this.rows].slice(0, n)
    const out: number[] = []
    const mask = this.#mask ?? new Uint8Array()
    for (let row = 0; row < mask.length && out.length < n; row++) if (this.has(row)) out.push(row)
    return out
  }

  /** Take what the address says, where it differs from what is held. */
  follow(): void {
    const text = address.get('selected')
    if (text === this.#text() || (text === '' && this.isTooLong)) return
    this.filter = null
    this.rows = read(text)
  }

  #text(): string {
    return this.filter === null ? written(this.rows) : ''
  }

  #set(rows: Set<number>, filter: Clause | null): void {
    this.rows = rows
    this.filter = filter
    const text = this.#text()
    address.set({ selected: text.length <= LONGEST ? text : null }, { replace: true })
  }
}

export const selection = new Selection()
