/** What a review queue needs to know of what it shows, whatever is reviewed. */

export type Tone = 'accept' | 'discard' | 'neutral'

export interface Choice {
  id: string
  label: string
  key: string
  tone: Tone
}

export interface QueueItem {
  row: number
  /** Why it is here, in short lines. */
  why: string[]
  score?: number
}

/** An order that was begun, kept by the browser so that it goes on where it stopped. */
export function keptOrder<T>(name: string): T[] | null {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(`curator-queue ${name}`) ?? 'null')
    return Array.isArray(found) && found.length ? (found as T[]) : null
  } catch {
    return null
  }
}

export function keepOrder<T>(name: string, items: T[] | null): void {
  try {
    if (items?.length) localStorage.setItem(`curator-queue ${name}`, JSON.stringify(items))
    else localStorage.removeItem(`curator-queue ${name}`)
  } catch {
    // without room the order is the server's when it is opened again
  }
}
