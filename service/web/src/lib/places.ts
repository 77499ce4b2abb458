/** Places on the map: on the screen and back, what lies where, and shapes drawn around them. */

export interface Camera {
  /** Data coordinates in the middle. */
  x: number
  y: number
  /** px for one unit of data. */
  scale: number
}

/** CSS px of a place; y points up in the data and down on the screen. */
export function onScreen(
  camera: Camera,
  frame: { width: number; height: number },
  x: number,
  y: number,
): [number, number] {
  return [frame.width / 2 + (x - camera.x) * camera.scale, frame.height / 2 - (y - camera.y) * camera.scale]
}

/** The place under a CSS px. */
export function inData(
  camera: Camera,
  frame: { width: number; height: number },
  px: number,
  py: number,
): [number, number] {
  return [camera.x + (px - frame.width / 2) / camera.scale, camera.y - (py - frame.height / 2) / camera.scale]
}

/** A camera that shows rows from the 1st to the 99th percentile with a margin of 5 %; outliers may lie outside. */
export function fitted(
  places: Float32Array,
  rows: Uint32Array,
  width: number,
  height: number,
  share = 0.01,
): Camera {
  if (!rows.length) return { x: 0, y: 0, scale: 1 }
  const span = (axis: 0 | 1): [number, number] => {
    const values = new Float32Array(rows.length)
    for (let i = 0; i < rows.length; i++) values[i] = places[2 * rows[i]! + axis]!
    values.sort()
    const cut = rows.length < 50 ? 0 : Math.floor(share * rows.length)
    return [values[cut]!, values[values.length - 1 - cut]!]
  }
  const [left, right] = span(0)
  const [low, high] = span(1)
  const scale = Math.min(
    (0.9 * width) / Math.max(right - left, 1e-6),
    (0.9 * height) / Math.max(high - low, 1e-6),
  )
  return { x: (left + right) / 2, y: (low + high) / 2, scale: Math.max(scale, 1e-6) }
}

/** Rows by cells of the plane, so that what is under the pointer is found without looking at all. */
export class Cells {
  #starts: Uint32Array
  #order: Uint32Array
  #low: [number, number] = [Infinity, Infinity]
  #step: [number, number]
  static readonly SIDE = 256

  constructor(
    private places: Float32Array,
    rows: Uint32Array,
  ) {
    const side = Cells.SIDE
    const high: [number, number] = [-Infinity, -Infinity]
    for (const row of rows) {
      for (const axis of [0, 1] as const) {
        const value = places[2 * row + axis]!
        if (value < this.#low[axis]) this.#low[axis] = value
        if (value > high[axis]) high[axis] = value
      }
    }
    this.#step = [
      Math.max(high[0] - this.#low[0], 1e-9) / side,
      Math.max(high[1] - this.#low[1], 1e-9) / side,
    ]
    const cells = new Uint32Array(rows.length)
    this.#starts = new Uint32Array(side * side + 1)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!
      const cell = this.#cell(places[2 * row]!, 0) + side * this.#cell(places[2 * row + 1]!, 1)
      cells[i] = cell
      this.#starts[cell + 1]!++
    }
    for (let cell = 0; cell < side * side; cell++) this.#starts[cell + 1]! += this.#starts[cell]!
    const next = this.#starts.slice()
    this.#order = new Uint32Array(rows.length)
    for (let i = 0; i < rows.length; i++) this.#order[next[cells[i]!]!++] = rows[i]!
  }

  /** Rows of a rectangle, at most so many. */
  within(left: number, low: number, right: number, high: number, most = Infinity): number[] {
    const out: number[] = []
    for (let cy = this.#cell(low, 1); cy <= this.#cell(high, 1); cy++) {
      for (let cx = this.#cell(left, 0); cx <= this.#cell(right, 0); cx++) {
        const cell = cx + Cells.SIDE * cy
        for (let i = this.#starts[cell]!; i < this.#starts[cell + 1]!; i++) {
          const row = this.#order[i]!
          const x = this.places[2 * row]!
          const y = this.places[2 * row + 1]!
          if (x >= left && x <= right && y >= low && y <= high) {
            out.push(row)
            if (out.length >= most) return out
          }
        }
      }
    }
    return out
  }

  /** The nearest row within a reach that fits; -1 where there is none. */
  nearest(x: number, y: number, reach: number, fits: (row: number) => boolean = () => true): number {
    let best = -1
    let least = reach * reach
    for (const row of this.within(x - reach, y - reach, x + reach, y + reach)) {
      const dx = this.places[2 * row]! - x
      const dy = this.places[2 * row + 1]! - y
      if (dx * dx + dy * dy <= least && fits(row)) [best, least] = [row, dx * dx + dy * dy]
    }
    return best
  }

  #cell(value: number, axis: 0 | 1): number {
    return Math.max(0, Math.min(Cells.SIDE - 1, Math.floor((value - this.#low[axis]) / this.#step[axis])))
  }
}

/** Corners that lie far enough from the line between their neighbours (Douglas and Peucker 1973). */
export function simplified(corners: [number, number][], tolerance: number): [number, number][] {
  if (corners.length <= 3) return corners
  const [ax, ay] = corners[0]!
  const [bx, by] = corners[corners.length - 1]!
  const length = Math.hypot(bx - ax, by - ay)
  let far = 0
  let at = 0
  for (let i = 1; i < corners.length - 1; i++) {
    const [x, y] = corners[i]!
    const away =
      length < 1e-12
        ? Math.hypot(x - ax, y - ay)
        : Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length
    if (away > far) [far, at] = [away, i]
  }
  if (far <= tolerance) return [corners[0]!, corners[corners.length - 1]!]
  return [
    ...simplified(corners.slice(0, at + 1), tolerance).slice(0, -1),
    ...simplified(corners.slice(at), tolerance),
  ]
}

/** Rows inside an outline, by the even-odd rule: as the server's filter `area` has it. */
export function inside(places: Float32Array, rows: Uint32Array, corners: [number, number][]): number[] {
  return [...rows].filter((row) => {
    const [x, y] = [places[2 * row]!, places[2 * row + 1]!]
    let odd = false
    corners.forEach(([ax, ay], at) => {
      const [bx, by] = corners[(at || corners.length) - 1]!
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd
    })
    return odd
  })
}

/** Of each group of rows, given by code, the one nearest to its middle; -1 codes and higher ones are of none. */
export function middles(
  at: Float32Array,
  placed: Uint32Array,
  codes: ArrayLike<number>,
  n: number,
): number[] {
  const sums = new Float64Array(3 * n)
  for (const row of placed) {
    const code = codes[row]!
    if (code >= n) continue
    sums[3 * code]! += at[2 * row]!
    sums[3 * code + 1]! += at[2 * row + 1]!
    sums[3 * code + 2]!++
  }
  const best = new Int32Array(n).fill(-1)
  const least = new Float64Array(n).fill(Infinity)
  for (const row of placed) {
    const code = codes[row]!
    if (code >= n) continue
    const k = sums[3 * code + 2]!
    const away = (at[2 * row]! - sums[3 * code]! / k) ** 2 + (at[2 * row + 1]! - sums[3 * code + 1]! / k) ** 2
    if (away < least[code]!) [best[code], least[code]] = [row, away]
  }
  return [...best].filter((row) => row >= 0)
}
