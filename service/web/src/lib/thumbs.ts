/**
 * Thumbnails: those of a screen come in one answer, are kept up to a limit, and are not waited for once they have
 * scrolled away.
 */
import { bytes, isAborted } from './api'

const PACK = 48
const KEPT = 1500
const WAIT_MS = 12

type Use = (url: string | null) => void

class Thumbs {
  /** Resolves when the first pictures are there. */
  readonly arrived: Promise<void>
  #arrive!: () => void
  #urls = new Map<string, string | null>()
  #wanted = new Map<string, { ws: string; row: number; uses: Set<Use> }>()
  #flying = new Map<AbortController, Set<string>>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor() {
    this.arrived = new Promise((resolve) => (this.#arrive = resolve))
  }

  /** Ask for a thumbnail; null means that there is none. The returned function says that nobody waits any more. */
  want(ws: string, row: number, use: Use): () => void {
    const key = `${ws}/${row}`
    const known = this.#urls.get(key)
    if (known !== undefined) {
      this.#urls.delete(key) // used last: goes last
      this.#urls.set(key, known)
      use(known)
      return () => undefined
    }
    const entry = this.#wanted.get(key) ?? { ws, row, uses: new Set<Use>() }
    entry.uses.add(use)
    this.#wanted.set(key, entry)
    this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS)
    return () => {
      entry.uses.delete(use)
      if (entry.uses.size === 0) this.#leave(key)
    }
  }

  #leave(key: string): void {
    this.#wanted.delete(key)
    for (const [controller, keys] of this.#flying) {
      if (keys.delete(key) && keys.size === 0) controller.abort()
    }
  }

  #ask(): void {
    this.#timer = undefined
    const flying = new Set([...this.#flying.values()].flatMap((keys) => [...keys]))
    const open = [...this.#wanted].filter(([key]) => !flying.has(key))
    for (const ws of new Set(open.map(([, entry]) => entry.ws))) {
      const entries = open.filter(([, entry]) => entry.ws === ws)
      for (let at = 0; at < entries.length; at += PACK) void this.#fetch(ws, entries.slice(at, at + PACK))
    }
  }

  async #fetch(ws: string, entries: [string, { row: number }][]): Promise<void> {
    const controller = new AbortController()
    this.#flying.set(controller, new Set(entries.map(([key]) => key)))
    try {
      const response = await bytes(`/v1/workspaces/${encodeURIComponent(ws)}/images/pack`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ rows: entries.map(([, { row }]) => row) }),
        signal: controller.signal,
      })
      const buffer = await response.arrayBuffer()
      const view = new DataView(buffer)
      let at = 0
      for (const [key] of entries) {
        const size = view.getUint32(at, true)
        const data = new Uint8Array(buffer, at + 4, size)
        at += 4 + size
        this.#keep(key, size ? URL.createObjectURL(new Blob([data])) : null)
      }
    } catch (error) {
      if (!isAborted(error)) setTimeout(() => this.#again(), 1000)
    } finally {
      this.#flying.delete(controller)
    }
  }

  #again(): void {
    if (this.#wanted.size) this.#timer ??= setTimeout(() => this.#ask(), WAIT_MS)
  }

  #keep(key: string, url: string | null): void {
    this.#arrive()
    this.#urls.set(key, url)
    const entry = this.#wanted.get(key)
    this.#wanted.delete(key)
    entry?.uses.forEach((use) => use(url))
    for (const [old, gone] of this.#urls) {
      if (this.#urls.size <= KEPT) break
      this.#urls.delete(old)
      if (gone) URL.revokeObjectURL(gone)
    }
  }
}

export const thumbs = new Thumbs()

/** The address of one picture at a size. */
export function picture(ws: string, row: number, size: number | 'thumb' | 'original' = 'thumb'): string {
  return `/v1/workspaces/${encodeURIComponent(ws)}/images/${row}?size=${size}`
}
