/** Near-duplicate groups in pages, in one of the server's orders, with what is decided about them drawn at once. */
import { api, isAborted, ok, patient } from '../lib/api'
import type { Group } from '../lib/duplicates'
import { toasts } from './toasts.svelte'

export type Order = 'loosest' | 'largest' | 'row'
const PAGE = 100

export class Groups {
  total = $state(0)
  nRemoved = $state(0)
  nConfirmed = $state(0)
  isLoaded = $state(false)
  error = $state.raw<unknown>(null)
  /** Raised when something arrived. */
  version = $state(0)
  #pages = new Map<number, { groups: Group[]; newest: number }>()
  #own = new Map<string, number>()
  #flying = new Map<number, AbortController>()

  constructor(
    private ws: string,
    private order: Order,
  ) {
    this.retry()
  }

  retry(): void {
    void this.#fetch(0)
  }

  at(index: number): Group | undefined {
    return this.#pages.get(Math.floor(index / PAGE))?.groups[index % PAGE]
  }

  want(first: number, last: number): void {
    for (let page = Math.floor(Math.max(0, first) / PAGE); page <= Math.floor(last / PAGE); page++) {
      const isThere = this.#pages.has(page) || this.#flying.has(page)
      if (!isThere && (page === 0 || !this.isLoaded || page * PAGE < this.total)) void this.#fetch(page)
    }
  }

  /** Ask again for the page that holds a group, after somebody decided about it. */
  again(index: number): void {
    void this.#fetch(Math.floor(index / PAGE))
  }

  /** Ask again for every page that is held. */
  allAgain(): void {
    for (const page of this.#pages.keys()) void this.#fetch(page)
  }

  /** Draw a group as it will be. */
  draw(index: number, change: Partial<Group>): void {
    const page = this.#pages.get(Math.floor(index / PAGE))
    const group = page?.groups[index % PAGE]
    if (!page || !group) return
    page.groups[index % PAGE] = { ...group, ...change }
    this.version++
  }

  /** Number of the newest decision about something that is known here. */
  seen(index: number, about: string): number {
    return Math.max(this.#pages.get(Math.floor(index / PAGE))?.newest ?? 0, this.#own.get(about) ?? 0)
  }

  /** Note an own decision: it is no conflict with the next one. */
  made(about: string, number: number): void {
    this.#own.set(about, number)
  }

  close(): void {
    for (const controller of this.#flying.values()) controller.abort()
  }

  async #fetch(page: number): Promise<void> {
    this.#flying.get(page)?.abort() // the older answer would come from before the decision
    const controller = new AbortController()
    const { signal } = controller
    this.#flying.set(page, controller)
    try {
      const query = { order: this.order, offset: page * PAGE, limit: PAGE }
      const path = { ws: this.ws }
      const found = await patient(
        () => ok(api.GET('/v1/workspaces/{ws}/duplicates', { params: { path, query }, signal })),
        signal,
      )
      this.#pages.set(page, found)
      this.total = found.total
      this.nRemoved = found.n_removed
      this.nConfirmed = found.n_confirmed
      this.isLoaded = true
      this.error = null
      this.version++
    } catch (error) {
      if (isAborted(error)) return
      if (this.isLoaded) toasts.fail(error)
      else this.error = error
    } finally {
      if (this.#flying.get(page) === controller) this.#flying.delete(page)
    }
  }
}
