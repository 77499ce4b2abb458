import { describe, expect, it } from 'vitest'
import { balanceOf, coveredBy, isUncovered } from './selecting'

describe('what the first picks cover', () => {
  const cover = { threshold: 0.9, first: Int32Array.of(1, 2, 2, 3, 0, -1, -2) }

  it('grows with the budget and never counts what is not to be covered', () => {
    expect([0, 1, 2, 3, 9].map((budget) => coveredBy(cover, budget))).toEqual(
      [1, 2, 4, 5, 5].map((n) => ({ n, of: 6 })),
    )
  })

  it('leaves open what no pick, or only a later one, covers', () => {
    expect([...cover.first].map((first) => isUncovered(first, 2))).toEqual([
      false,
      false,
      false,
      true,
      false,
      true,
      false,
    ])
  })
})

describe('balance of the first picks', () => {
  const whole = {
    column: 'class',
    n_groups: 3,
    n_hit: 2,
    groups: [
      ['car', 9, 4],
      ['bus', 5, 3],
      ['van', 2, 0],
    ] as [string, number, number][],
  }

  it('counts their groups in the column asked for', () => {
    const picks = [{ groups: ['x', 'bus'] }, { groups: ['x', 'bus'] }, { groups: ['y', null] }]
    const found = balanceOf(whole, 1, picks)
    expect(found.groups).toEqual([
      ['car', 9, 0],
      ['bus', 5, 2],
      ['van', 2, 0],
    ])
    expect(found.n_hit).toBe(1)
  })

  it('is that of all where groups were not noted', () => {
    expect(balanceOf(whole, 0, [{ groups: ['car'] }, { groups: null }])).toBe(whole)
  })
})
