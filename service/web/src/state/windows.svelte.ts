/** A long list in windows: fetched when something in them comes into sight, in whatever order. */
import { isAborted, patient } from '../lib/api'
import { toasts } from './toasts.svelte'

const KEPT = 60 // windows

export abstract class Windows<T> {
  total = $state(0)
  isLoaded = $state(false)
  error = $state.raw<unknown>(null)
  /** Raised when something arrived. */
  version = $state(0)
  protected held = new Map<number, T[]>()
  #flying = new Map<number, AbortController>()

  constructor(protected size: number) {}

  /** Items of a window, and how many there are in all. */
  protected abstract ask(number: number, signal: AbortSignal): Promise<{ items: T[]; total: number }>

  at(index: number): T | undefined {
    return this.held.get(this.windowOf(index))?.[index % this.size]
  }

  /** Say what is in sight: fetched if missing, and what is far away is no longer waited for. */
  want(first: number, last: number): void {
    const [from, to] = [this.windowOf(Math.max(0, first)), this.windowOf(Math.max(0, last))]
    for (const [number, controller] of this.#flying) {
      if (number < from - 1 || number > to + 1) controller.abort()
    }
    for (let number = from; number <= to; number++) {
      const isThere = this.held.has(number) || this.#flying.has(number)
      if (!isThere && (number === 0 || !this.isLoaded || number * this.size < this.total))
        void this.fetch(number)
    }
  }

  /** Stop asking. */
  close(): void {
    this.#flying.forEach((controller) => controller.abort())
  }

  protected windowOf(index: number): number {
    return Math.floor(index / this.size)
  }

  protected async fetch(number: number): Promise<void> {
    this.#flying.get(number)?.abort() // the older answer may be from before a decision
    const controller = new AbortController()
    const { signal } = controller
    this.#flying.set(number, controller)
    try {
      const { items, total } = await patient(() => this.ask(number, signal), signal)
      this.held.set(number, items)
      if (this.held.size > KEPT) this.held.delete(this.held.keys().next().value!)
      this.total = total
      this.isLoaded = true
      this.error = null
      this.version++
    } catch (error) {
      if (isAborted(error)) return
      if (this.isLoaded) toasts.fail(error)
      else this.error = error
    } finally {
      if (this.#flying.get(number) === controller) this.#flying.delete(number)
    }
  }
}
