/** The address bar is where the view's state lives: a link shows what was seen, and back works. */

export const VIEWS = ['explore', 'search', 'duplicates', 'select', 'failures', 'runs'] as const
export type View = (typeof VIEWS)[number]
type Changes = Record<string, string | null>

class Address {
  #query = $state.raw(new URLSearchParams(location.search))

  constructor() {
    addEventListener('popstate', () => (this.#query = new URLSearchParams(location.search)))
  }

  get ws(): string {
    return this.get('ws')
  }

  get view(): View {
    const found = this.get('view') as View
    return VIEWS.includes(found) ? found : 'explore'
  }

  /** A value, or '' where it is not there. */
  get(name: string): string {
    return this.#query.get(name) ?? ''
  }

  /** Change values; null removes one. A step back undoes it, unless it replaces. */
  set(changes: Changes, { replace = false } = {}): void {
    const next = new URLSearchParams(this.#query)
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === '') next.delete(name)
      else next.set(name, value)
    }
    if (next.toString() === this.#query.toString()) return
    this.#query = next
    const url = `${location.pathname}?${next}`
    if (replace) history.replaceState(null, '', url)
    else history.pushState(null, '', url)
  }

  /** The address with other values, for a link. */
  with(changes: Changes): string {
    const next = new URLSearchParams(this.#query)
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) next.delete(name)
      else next.set(name, value)
    }
    return `${location.pathname}?${next}`
  }
}

export const address = new Address()
