import { describe, expect, it } from 'vitest'
import { findsPer, holding, nextOpen, type Decision } from './review'

const items = [7, 8, 9].map((row) => ({ row, why: [] }))
const decision = (id: number, rows: number[], value: string, undone_at: number | null = null): Decision => ({
  id,
  uuid: '',
  at: id,
  who: 'ann',
  kind: 'review',
  subject: 'dusk/1',
  rows,
  n_rows: rows.length,
  value,
  note: '',
  undone_at,
  undone_by: null,
})

describe('the next item', () => {
  it('is the next without a decision, going around at the end', () => {
    expect(nextOpen(items, new Map(), -1)).toBe(0)
    expect(nextOpen(items, new Map([[8, 'skip']]), 0)).toBe(2)
    expect(nextOpen(items, new Map([[9, 'skip']]), 1)).toBe(0)
  })

  it('is none where everything was decided', () => {
    expect(nextOpen(items, new Map(items.map(({ row }) => [row, 'accept'])), 1)).toBe(3)
    expect(nextOpen([], new Map(), -1)).toBe(0)
  })
})

describe('finds', () => {
  it('are counted for each so many decisions, the last part too', () => {
    expect(findsPer(['a', 'a', 'd', 'a', 'd'], 'a', 2)).toEqual([2, 1, 0])
    expect(findsPer([], 'a')).toEqual([])
  })
})

describe('what holds', () => {
  it('is the newest decision that was not taken back', () => {
    const log = [
      decision(4, [3], 'accept', 9),
      decision(3, [1], 'discard'),
      decision(2, [2, 3], 'skip'),
      decision(1, [1], 'accept'),
    ]
    expect([...holding(log)]).toEqual([
      [2, 'skip'],
      [3, 'skip'],
      [1, 'discard'],
    ])
  })
})
