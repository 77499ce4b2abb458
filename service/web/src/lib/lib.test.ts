import { describe, expect, test } from 'vitest'
import { joined, parsed, sentence, subject } from './clauses'
import { counted, duration, figure, percent, plural, shown } from './format'
import { GAP, inSight, laidOut, scrollAt, TALLEST, topAt } from './layout'
import { read, written } from './ranges'
import { Cells, fitted, inData, onScreen, simplified } from './places'
import { between, commandOf, paramsOf, yamlOf, type Wish } from './selecting'

describe('ranges', () => {
  test('what was written is read again', () => {
    const rows = new Set([3, 4, 5, 9, 0, 70])
    expect(written(rows)).toBe('0,3-5,9,70')
    expect(read(written(rows))).toEqual(rows)
  })
  test('nonsense and endless ranges are left out', () => {
    expect(read('x,-3,4-2,7')).toEqual(new Set([7]))
    expect(read('0-999999999999', 100).size).toBe(100)
  })
})

describe('clauses', () => {
  test('are joined as the server takes them', () => {
    expect(joined([])).toBe(null)
    expect(joined([{ tag: 'a' }])).toEqual({ tag: 'a' })
    expect(joined([{ tag: 'a' }, { tag: 'b' }])).toEqual({ and: [{ tag: 'a' }, { tag: 'b' }] })
  })
  test('from an address are read, and what is none is left out', () => {
    expect(parsed('[{"tag":"a"},3]')).toEqual([{ tag: 'a' }])
    expect(parsed('{')).toEqual([])
  })
  test('are told in words', () => {
    expect(sentence({ column: 'blur', lt: 0.4 })).toBe('blur < 0.400')
    expect(sentence({ column: 'label', in: ['car', 'bus'] })).toBe('label: car, bus')
    expect(sentence({ not: { column: 'label', is_null: true } })).toBe('not label: missing')
    expect(sentence({ area: [[0, 0]] })).toBe('drawn area')
  })
  test('on one column replace each other', () => {
    expect(subject({ column: 'a', lt: 1 })).toBe(subject({ column: 'a', in: [2] }))
    expect(subject({ tag: ['a'] })).not.toBe(subject({ column: 'tag', eq: 'a' }))
  })
})

describe('format', () => {
  test('numbers are alike everywhere', () => {
    expect([figure(0.93444), figure(12.44), figure(1240), figure(0.00002), figure(NaN)]).toEqual([
      '0.934',
      '12.4',
      '1,240',
      '2.0e-5',
      '–',
    ])
    expect([plural(1, 'image'), plural(1240, 'image')]).toEqual(['1 image', '1,240 images'])
    expect([percent(0.345), percent(0.0034, 1), percent(NaN)]).toEqual(['35 %', '0.3 %', '–'])
    expect([duration(4), duration(90), duration(7200)]).toEqual(['4 s', '2 min', '2.0 h'])
    expect([shown(null), shown([]), shown(['a', 2]), shown(true)]).toEqual(['–', '–', 'a, 2', 'yes'])
  })
})

describe('counts of a stage', () => {
  test('are told in words, without what is zero or no number', () => {
    expect(
      counted({ n: 1378, n_flagged: 6, odd_aspect: 5, dark: 0, preserved: 0.7083, method: 'kmeans' }),
    ).toBe('1,378 images, 6 flagged, odd aspect 5, preserved 0.708')
    expect(counted({})).toBe('')
  })
})

describe('layout', () => {
  test('every tile has its place, whatever their number', () => {
    for (const total of [0, 1, 7, 1000]) {
      const layout = laidOut(total, 600, 176)
      expect(layout.columns * layout.tile + (layout.columns - 1) * GAP).toBeLessThanOrEqual(600)
      expect(layout.height).toBe(Math.max(0, Math.ceil(total / layout.columns) * layout.pitch - GAP))
      expect(inSight(layout, total, 0, 500)[0]).toBe(0)
    }
  })
  test('above what a browser can scroll, the ends are still the ends', () => {
    const layout = laidOut(5_000_000, 600, 176)
    expect(layout.height).toBeGreaterThan(TALLEST)
    expect(layout.scrolled).toBe(TALLEST)
    expect(topAt(layout, 0, 800)).toBe(0)
    const end = topAt(layout, TALLEST - 800, 800)
    expect(end).toBeCloseTo(layout.height - 800)
    expect(inSight(layout, 5_000_000, end, 800)[1]).toBe(5_000_000)
    const middle = 123_456 * layout.pitch
    expect(topAt(layout, scrollAt(layout, middle, 800), 800)).toBeCloseTo(middle, 3)
  })
})

describe('map', () => {
  const random = (seed: number) => () => (seed = (seed * 16807) % 2147483647) / 2147483647
  test('the nearest point under the pointer is the nearest of all', () => {
    const next = random(5)
    const places = Float32Array.from({ length: 2000 }, () => 10 * next() - 3)
    const rows = Uint32Array.from({ length: 1000 }, (_, row) => row)
    const cells = new Cells(places, rows)
    const away = (row: number, x: number, y: number) =>
      Math.hypot(places[2 * row]! - x, places[2 * row + 1]! - y)
    for (let i = 0; i < 100; i++) {
      const [x, y] = [10 * next() - 3, 10 * next() - 3]
      const best = [...rows].reduce((a, b) => (away(b, x, y) < away(a, x, y) ? b : a))
      const found = cells.nearest(x, y, 1)
      expect(found < 0 ? away(best, x, y) > 1 : away(found, x, y)).toBe(found < 0 ? true : away(best, x, y))
    }
  })
  test('rows of a rectangle are all of them', () => {
    const next = random(9)
    const places = Float32Array.from({ length: 600 }, () => next())
    const rows = Uint32Array.from({ length: 300 }, (_, row) => row)
    const inside = [...rows].filter((row) => places[2 * row]! <= 0.5 && places[2 * row + 1]! >= 0.2)
    expect(new Cells(places, rows).within(-1, 0.2, 0.5, 2).sort((a, b) => a - b)).toEqual(inside)
  })
  test('a place on the screen is the place in the data', () => {
    const camera = { x: 2, y: -1, scale: 37 }
    const size = { width: 400, height: 300 }
    const [px, py] = onScreen(camera, size, 3.5, 0.25)
    const [x, y] = inData(camera, size, px, py)
    expect([x, y]).toEqual([expect.closeTo(3.5), expect.closeTo(0.25)])
  })
  test('everything but outliers fits', () => {
    const places = new Float32Array(400)
    for (let row = 0; row < 200; row++)
      [places[2 * row], places[2 * row + 1]] = [row === 0 ? 1e6 : row / 200, row / 200]
    const rows = Uint32Array.from({ length: 200 }, (_, row) => row)
    expect(fitted(places, rows, 400, 300).scale).toBeGreaterThan(100)
  })
  test('a drawn line keeps its corners and loses its jitter', () => {
    const drawn: [number, number][] = []
    for (let x = 0; x <= 100; x++) drawn.push([x, (x % 2) * 0.5])
    for (let y = 1; y <= 100; y++) drawn.push([100, y])
    expect(simplified(drawn, 1.5)).toEqual([
      [0, 0],
      [100, 0],
      [100, 100],
    ])
  })
})

describe('selecting', () => {
  const wish: Wish = {
    name: 'fifty',
    budget: '50',
    method: 'mixed',
    strategies: [],
    per_group: '',
    quotas: 'equal',
    min_distance: 0,
    spacing_s: 0,
    stop_coverage: null,
    threshold: null,
    preselected: '',
    scores: '',
    filter: null,
  }
  test('only what was asked for is said', () => {
    expect(paramsOf(wish)).toEqual({ name: 'fifty', budget: 50, method: 'mixed' })
    expect(commandOf('street', wish)).toBe('curator select -w street --name fifty --budget 50 --method mixed')
  })
  test('strategies become configuration and a command that a shell reads', () => {
    const several: Wish = {
      ...wish,
      budget: '5%',
      method: 'strategies',
      strategies: [
        { kind: 'diversity' },
        { kind: 'weights', column: "a'b", strength: 0.5 },
        { kind: 'threshold', column: 'blur', min: 0.1, strength: 9 },
      ],
    }
    expect(paramsOf(several)['strategies']).toEqual([
      { kind: 'diversity' },
      { kind: 'weights', column: "a'b", strength: 0.5 },
      { kind: 'threshold', column: 'blur', min: 0.1 },
    ])
    expect(yamlOf(several)).toContain('    - {kind: weights, column: "a\'b", strength: 0.5}\n')
    expect(commandOf('street', several)).toContain(`"a'\\''b"`)
  })
  test('a curve is read between its points', () => {
    expect(between([1, 3, 5], [0, 1, 3], 2)).toBe(0.5)
    expect(between([1, 3, 5], [0, 1, 3], 5)).toBe(3)
    expect(between([1, 3, 5], [0, 1, 3], 99)).toBe(3)
    expect(between([], [], 3)).toBeNaN()
  })
})
