/** What the view of near-duplicates computes: why an image is kept, the scale of its slider, parts of long decisions. */
import type { Schemas } from './api'

export type Group = Schemas['GroupAnswer']
const MOST_ROWS = 1000 // of one decision

/** Why an image stands for its group, in a few words. */
export function reasonOf(group: Group, row: number, policy: string | null): string {
  if (row !== group.kept ? group.chosen === row : group.is_wished) return 'chosen by a person'
  const [how, column] = (policy ?? '').split(':', 2)
  switch (how) {
    case 'coverage':
      return `nearest to most: covers ${group.removed.length}`
    case 'sharpest':
      return 'the sharpest'
    case 'largest':
      return 'the most pixels'
    case 'first':
      return 'came first'
    case 'labelled':
      return 'has a label, or came first'
    case 'max':
      return `largest ${column}`
    case 'min':
      return `smallest ${column}`
    default:
      return ''
  }
}

/** Whether somebody said that an image is no duplicate of the one that was kept. */
export const isApart = (group: Group, row: number): boolean =>
  row !== group.kept && group.not_duplicates.some((pair) => pair.includes(row) && pair.includes(group.kept))

/** The image that stands for a group now, then the others, most similar first. */
export function membersOf(group: Group): number[] {
  const kept = group.chosen ?? group.kept
  const all = [group.kept, ...group.removed.map((one) => one.row)]
  return [kept, ...all.filter((row) => row !== kept)]
}

export function parts<T>(all: T[], size = MOST_ROWS): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) =>
    all.slice(at * size, (at + 1) * size),
  )
}

/** Thresholds that the slider can stand at, ascending: whole steps, at most so many, from `low` to 1. */
export function stepsFrom(low: number, most = 190): { step: number; at: number[] } {
  const step = Math.max(1, Math.ceil((1000 * (1 - low)) / most)) / 1000
  const first = Math.ceil(low / step - 1e-9)
  const n = Math.floor(1 / step + 1e-9) - first + 1
  return { step, at: Array.from({ length: n }, (_, i) => Number(((first + i) * step).toFixed(3))) }
}
