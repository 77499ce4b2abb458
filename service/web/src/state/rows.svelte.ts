/** Images in an order, for a grid: of a scope, asked for in windows; or a list that is there already. */
import { untrack } from 'svelte'
import { api, isAborted, ok, patient } from '../lib/api'
import type { Clause } from '../lib/clauses'
import type { Sort } from './scope.svelte'
import { toasts } from './toasts.svelte'

export interface Item {
  row: number
  fields: Record<string, unknown>
  /** Shown on the tile while it orders the grid. */
  score?: number
}

export interface Source {
  readonly total: number
  /** Raised when something arrived. */
  readonly version: number
  at(index: number): Item | undefined
  /** Say what is in sight: fetched if missing, and what is far away is no longer waited for. */
  want(first: number, last: number): void
  /** Where a row is, as far as is known; -1 otherwise. */
  indexOf(row: number): number
}

export const WINDOW = 200
const KEPT_WINDOWS = 60

/** Rows of a scope, in windows. */
export class Rows implements Source {
  total = $state(0)
  version = $state(0)
  error = $state.raw<unknown>(null)
  isLoaded = $state(false)
  #windows = new Map<number, Item[]>()
  #flying = new Map<number, AbortController>()

  constructor(
    private ws: string,
    private filter: Clause | null,
    private sort: Sort | null,
    private fields: string[],
    total: number | null,
  ) {
    this.total = total ?? 0
    void this.#fetch(0)
  }

  at(index: number): Item | undefined {
    return this.#windows.get(Math.floor(index / WINDOW))?.[index % WINDOW]
  }

  want(first: number, last: number): void {
    const from = Math.floor(Math.max(0, first) / WINDOW)
    const to = Math.floor(Math.max(0, last) / WINDOW)
    for (const [number, controller] of this.#flying) {
      if (number < from - 1 || number > to + 1) controller.abort()
    }
    for (let number = from; number <= to; number++) void this.#fetch(number)
  }

  indexOf(row: number): number {
    for (const [number, items] of this.#windows) {
      const at = items.findIndex((item) => item.row === row)
      if (at >= 0) return number * WINDOW + at
    }
    return -1
  }

  /** Stop asking. */
  close(): void {
    this.#flying.forEach((controller) => controller.abort())
  }

  async #fetch(number: number): Promise<void> {
    if (this.#windows.has(number) || this.#flying.has(number)) return
    if (number > 0 && this.isLoaded && number * WINDOW >= this.total) return
    const controller = new AbortController()
    this.#flying.set(number, controller)
    try {
      const page = await patient(
        () =>
          ok(
            api.POST('/v1/workspaces/{ws}/rows/query', {
              params: { path: { ws: this.ws } },
              body: {
                filter: this.filter,
                sort: this.sort ? [this.sort] : [],
                offset: number * WINDOW,
                limit: WINDOW,
                fields: this.fields,
                present_only: true,
              },
              signal: controller.signal,
            }),
          ),
        controller.signal,
      )
      const column = this.sort?.column
      const items = page.rows.map((one): Item => {
        const fields = (one['fields'] ?? {}) as Record<string, unknown>
        const score = column ? fields[column] : undefined
        return { row: one.row, fields, ...(typeof score === 'number' && { score }) }
      })
      this.#windows.set(number, items)
      if (this.#windows.size > KEPT_WINDOWS) this.#windows.delete(this.#windows.keys().next().value!)
      this.total = page.total
      this.isLoaded = true
      this.error = null
      this.version++
    } catch (error) {
      if (isAborted(error)) return
      if (this.isLoaded) toasts.fail(error)
      else this.error = error
    } finally {
      this.#flying.delete(number)
    }
  }
}

/** Rows that are there already. */
export class Listed implements Source {
  version = $state(0)
  #items = $state.raw<Item[]>([])

  constructor(items: Item[]) {
    this.#items = items
  }

  get total(): number {
    return this.#items.length
  }

  at(index: number): Item | undefined {
    return this.#items[index]
  }

  want(): void {
    // everything is there
  }

  indexOf(row: number): number {
    return this.#items.findIndex((item) => item.row === row)
  }

  /** More or fewer of the same order: what looks at it stays where it is. */
  replace(items: Item[]): void {
    this.#items = items
    untrack(() => this.version++)
  }
}
