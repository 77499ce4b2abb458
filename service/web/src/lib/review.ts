/** What a review queue needs to know of what it shows, whatever is reviewed. */
import type { Schemas } from './api'

/** What campaigns and triggers may be called. */
export const NAMED = '[A-Za-z0-9][A-Za-z0-9 _.\\-]*'

export type Tone = 'accept' | 'discard' | 'neutral'
export type Decision = Schemas['DecisionAnswer']

export interface Choice {
  id: string
  label: string
  key: string
  tone: Tone
}

/** Of every queue whose question is whether an image shows what was looked for. */
export const VERDICTS: Choice[] = [
  { id: 'discard', label: 'Discard', key: 'd', tone: 'discard' },
  { id: 'skip', label: 'Skip', key: 's', tone: 'neutral' },
  { id: 'accept', label: 'Accept', key: 'a', tone: 'accept' },
]

export interface QueueItem {
  row: number
  /** Why it is here and what is known of it, in short lines. */
  why: string[]
  score?: number
  /** Images to compare it with. */
  beside?: { row: number; label: string }[]
}

/** How an order went, when it is done. */
export interface Ending {
  n: number
  counts: Map<string, number>
  /** How many of each twenty were accepted, in the order in which they were decided. */
  finds: number[]
}

/** Place of the next item without a decision, from one on and around; the length where there is none. */
export function nextOpen(items: QueueItem[], said: ReadonlyMap<number, string>, from: number): number {
  for (let step = 1; step <= items.length; step++) {
    const next = (from + step) % items.length
    if (!said.has(items[next]!.row)) return next
  }
  return items.length
}

/** How often something was said in each so many decisions. */
export function findsPer(said: string[], what: string, every = 20): number[] {
  const parts = Math.ceil(said.length / every)
  return Array.from(
    { length: parts },
    (_, at) => said.slice(at * every, (at + 1) * every).filter((one) => one === what).length,
  )
}

/** What holds about each row, oldest decision first. */
export function holding(log: Decision[]): Map<number, string> {
  const out = new Map<number, string>()
  for (const one of log.filter((decision) => decision.undone_at === null).toReversed()) {
    for (const row of one.rows) {
      out.delete(row)
      out.set(row, String(one.value))
    }
  }
  return out
}

/** What the accepted images of a campaign are called as a selection, unless somebody says otherwise. */
export const selectionName = (campaign: string): string =>
  `${campaign.replaceAll(' ', '-').slice(0, 55)}-to-label`

/** An order that was begun, kept by the browser so that it goes on where it stopped. */
export function keptOrder<T>(name: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(`curator-queue ${name}`) ?? 'null') as T | null
  } catch {
    return null
  }
}

export function keepOrder<T>(name: string, order: T): void {
  try {
    localStorage.setItem(`curator-queue ${name}`, JSON.stringify(order))
  } catch {
    // without room the order is the server's when it is opened again
  }
}
