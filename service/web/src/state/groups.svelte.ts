/** Near-duplicate groups in pages, in one of the server's orders. */
import { api, isAborted, ok, patient, type Schemas } from '../lib/api'
import { toasts } from './toasts.svelte'

export type Group = Schemas['GroupAnswer']
export type Order = 'loosest' | 'largest' | 'row'
const PAGE = 100

export class Groups {
  total = $state(0)
  nRemoved = $state(0)
  isLoaded = $state(false)
  error = $state.raw<unknown>(null)
  /** Raised when something arrived. */
  version = $state(0)
  #pages = new Map<number, Group[]>()
  #flying = new Set<number>()
  #controller = new AbortController()

  constructor(
    private ws: string,
    private order: Order,
  ) {
    void this.#fetch(0)
  }

  at(index: number): Group | undefined {
    return this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE]
  }

  want(first: number, last: number): void {
    for (let page = Math.floor(Math.max(0, first) / PAGE); page <= Math.floor(last / PAGE); page++)
      void this.#fetch(page)
  }

  /** Ask again for the page that holds a group, after somebody decided about it. */
  again(index: number): void {
    void this.#fetch(Math.floor(index / PAGE), true)
  }

  close(): void {
    this.#controller.abort()
  }

  async #fetch(page: number, isAgain = false): Promise<void> {
    if (
      (!isAgain && this.#pages.has(page)) ||
      this.#flying.has(page) ||
      (this.isLoaded && page * PAGE >= this.total && page > 0)
    )
      return
    this.#flying.add(page)
    try {
      const query = { order: this.order, offset: page * PAGE, limit: PAGE }
      const signal = this.#controller.signal
      const found = await patient(
        () =>
          ok(api.GET('/v1/workspaces/{ws}/duplicates', { params: { path: { ws: this.ws }, query }, signal })),
        signal,
      )
      this.#pages.set(page, found.groups)
      this.total = found.total
      this.nRemoved = found.n_removed
      this.isLoaded = true
      this.error = null
      this.version++
    } catch (error) {
      if (isAborted(error)) return
      if (this.isLoaded) toasts.fail(error)
      else this.error = error
    } finally {
      this.#flying.delete(page)
    }
  }
}
