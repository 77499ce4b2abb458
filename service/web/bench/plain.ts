/** The same points in an embed of plain regl-scatterplot, for scripts/bench_page.py to stand beside. */
import createScatterplot from 'regl-scatterplot'

const canvas = document.querySelector<HTMLCanvasElement>('#canvas')!
const [width, height] = [560, 760]
const [places, codes] = await Promise.all(
  ['/map.bin', '/codes.bin'].map((path) => fetch(path).then((response) => response.arrayBuffer())),
)
const xy = new Float32Array(places!)
const code = new Uint8Array(codes!)
const n = xy.length / 2
const x = new Float32Array(n)
const y = new Float32Array(n)
const category = new Float32Array(n)
let most = 0
for (let row = 0; row < 2 * n; row++) most = Math.max(most, Math.abs(xy[row]!))
for (let row = 0; row < n; row++)
  [x[row], y[row], category[row]] = [xy[2 * row]! / most, xy[2 * row + 1]! / most, code[row]! % 8]

const plot = createScatterplot({
  canvas,
  width,
  height,
  pointSize: 2,
  colorBy: 'valueA',
  pointColor: ['#A5165A', '#623B04', '#8C8119', '#5C844D', '#0D9D97', '#1A49B7', '#B170EC', '#58357B'],
})
await plot.draw({ x, y, valueA: category })
performance.mark('map-drawn')
