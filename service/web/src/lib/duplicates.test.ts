import { describe, expect, it } from 'vitest'
import { isApart, membersOf, parts, reasonOf, stepsFrom, type Group } from './duplicates'

const group = (change: Partial<Group> = {}): Group => ({
  kept: 4,
  size: 3,
  loosest: 0.95,
  removed: [
    { row: 9, similarity: 0.98, kind: 'near' },
    { row: 2, similarity: 0.95, kind: 'near' },
  ],
  is_wished: false,
  chosen: null,
  not_duplicates: [],
  is_confirmed: false,
  ...change,
})

describe('a group', () => {
  it('shows the image that stands for it first', () => {
    expect(membersOf(group())).toEqual([4, 9, 2])
    expect(membersOf(group({ chosen: 2 }))).toEqual([2, 4, 9])
  })

  it('gives the reason of the policy, or of the person who chose', () => {
    expect(reasonOf(group(), 4, 'coverage')).toBe('nearest to most: covers 2')
    expect(reasonOf(group(), 4, 'max:brightness')).toBe('largest brightness')
    expect(reasonOf(group(), 4, null)).toBe('')
    expect(reasonOf(group({ chosen: 9 }), 9, 'sharpest')).toBe('chosen by a person')
    expect(reasonOf(group({ is_wished: true }), 4, 'sharpest')).toBe('chosen by a person')
  })

  it('tells only the image apart that the pair is about', () => {
    const told = group({ not_duplicates: [[2, 4]] })
    expect([4, 9, 2].filter((row) => isApart(told, row))).toEqual([2])
    expect(isApart(group({ not_duplicates: [[2, 9]] }), 2)).toBe(false)
  })
})

describe('long decisions', () => {
  it('are sent in parts that hold everything once', () => {
    const rows = Array.from({ length: 2500 }, (_, row) => row)
    expect(parts(rows).map((one) => one.length)).toEqual([1000, 1000, 500])
    expect(parts(rows).flat()).toEqual(rows)
    expect(parts([])).toEqual([])
  })
})

describe('the slider', () => {
  it('ends at 1 and never asks for more than the server counts', () => {
    for (const low of [0, 0.31, 0.5, 0.8123, 0.93, 0.999, 1]) {
      const { step, at } = stepsFrom(low)
      expect(at.length).toBeLessThanOrEqual(200)
      expect(at[0]).toBeGreaterThanOrEqual(low)
      expect(at[0]! - low).toBeLessThan(step)
      expect(1 - at.at(-1)!).toBeLessThan(step)
    }
    expect(stepsFrom(0.95).at.at(-1)).toBe(1)
  })
})
