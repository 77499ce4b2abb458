/** Near-duplicate groups in pages, in one of the server's orders, with what is decided about them drawn at once. */
import { api, ok } from '../lib/api'
import type { Group } from '../lib/duplicates'
import { Windows } from './windows.svelte'

export type Order = 'loosest' | 'largest' | 'row'
const PAGE = 100

export class Groups extends Windows<Group> {
  nRemoved = $state(0)
  nConfirmed = $state(0)
  nWaiting = $state(0)
  #newest = new Map<number, number>() // decision when a page was asked for
  #own = new Map<string, number>()

  constructor(
    private ws: string,
    private order: Order,
  ) {
    super(PAGE)
    this.retry()
  }

  retry(): void {
    void this.fetch(0)
  }

  /** Ask again for the page that holds a group, after somebody decided about it. */
  again(index: number): void {
    void this.fetch(this.windowOf(index))
  }

  /** Ask again for every page that is held. */
  allAgain(): void {
    for (const page of this.held.keys()) void this.fetch(page)
  }

  /** Draw a group as it will be. */
  draw(index: number, change: Partial<Group>): void {
    const page = this.held.get(this.windowOf(index))
    const group = page?.[index % PAGE]
    if (!page || !group) return
    page[index % PAGE] = { ...group, ...change }
    this.version++
  }

  /** Number of the newest decision about something that is known here. */
  seen(index: number, about: string): number {
    return Math.max(this.#newest.get(this.windowOf(index)) ?? 0, this.#own.get(about) ?? 0)
  }

  /** Note an own decision: it is no conflict with the next one. */
  made(about: string, number: number): void {
    this.#own.set(about, number)
  }

  protected async ask(page: number, signal: AbortSignal) {
    const query = { order: this.order, offset: page * PAGE, limit: PAGE }
    const path = { ws: this.ws }
    const found = await ok(api.GET('/v1/workspaces/{ws}/duplicates', { params: { path, query }, signal }))
    this.#newest.set(page, found.newest)
    this.nRemoved = found.n_removed
    this.nConfirmed = found.n_confirmed
    this.nWaiting = found.n_waiting
    return { items: found.groups, total: found.total }
  }
}
