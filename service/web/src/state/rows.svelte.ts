/** Images in an order, for a grid: of a scope, asked for in windows; or a list that is there already. */
import { untrack } from 'svelte'
import { api, ok } from '../lib/api'
import type { Clause } from '../lib/clauses'
import type { Sort } from './scope.svelte'
import { Windows } from './windows.svelte'

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

const WINDOW = 200

/** Rows of a scope, in windows. */
export class Rows extends Windows<Item> implements Source {
  constructor(
    private ws: string,
    private filter: Clause | null,
    private sort: Sort | null,
    private fields: string[],
  ) {
    super(WINDOW)
    this.want(0, 0)
  }

  indexOf(row: number): number {
    for (const [number, items] of this.held) {
      const at = items.findIndex((item) => item.row === row)
      if (at >= 0) return number * WINDOW + at
    }
    return -1
  }

  protected async ask(number: number, signal: AbortSignal) {
    const sort = this.sort ? [this.sort] : []
    const body = {
      filter: this.filter,
      sort,
      offset: number * WINDOW,
      limit: WINDOW,
      fields: this.fields,
      present_only: true,
    }
    const path = { ws: this.ws }
    const page = await ok(api.POST('/v1/workspaces/{ws}/rows/query', { params: { path }, body, signal }))
    const column = this.sort?.column
    const items = page.rows.map((one): Item => {
      const fields = (one['fields'] ?? {}) as Record<string, unknown>
      const score = column ? fields[column] : undefined
      return { row: one.row, fields, ...(typeof score === 'number' && { score }) }
    })
    return { items, total: page.total }
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
