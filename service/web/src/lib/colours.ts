/**
 * Colours of values. Eight hues that stay apart under simulated colour blindness (Machado 2009) in both themes; more
 * values share grey. Numbers take viridis between the 2nd and the 98th percentile.
 */
import type { Coded } from '../state/workspace.svelte'

export type Rgb = [number, number, number]

const DARK = ['#F15890', '#FFB228', '#8D8525', '#D1F985', '#9DEED5', '#6E99F1', '#D5A9E7', '#9650AB']
const LIGHT = ['#A5165A', '#623B04', '#8C8119', '#5C844D', '#0D9D97', '#1A49B7', '#B170EC', '#58357B']
const GREY: Record<Theme, string> = { dark: '#7C8594', light: '#8A929F' }
export type Theme = 'light' | 'dark'
export const HUES = 8

const VIRIDIS = [
  '#440154',
  '#482475',
  '#414487',
  '#355F8D',
  '#2A788E',
  '#21918C',
  '#22A884',
  '#44BF70',
  '#7AD151',
  '#BDDF26',
  '#FDE725',
]

export const rgb = (hex: string): Rgb => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb

export const hue = (at: number, theme: Theme): string => (theme === 'dark' ? DARK : LIGHT)[at] ?? GREY[theme]

/** viridis at 0 to 1. */
export function ramp(at: number): Rgb {
  const x = Math.max(0, Math.min(1, at)) * (VIRIDIS.length - 1)
  const low = Math.min(VIRIDIS.length - 2, Math.floor(x))
  const [a, b] = [rgb(VIRIDIS[low]!), rgb(VIRIDIS[low + 1]!)]
  return a.map((part, i) => Math.round(part + (b[i]! - part) * (x - low))) as Rgb
}

/** Where a number lies between the clips, 0 to 1. */
export function clips(values: Float32Array): [number, number] {
  const known = values.filter(Number.isFinite)
  if (!known.length) return [0, 1]
  known.sort()
  const low = known[Math.floor(0.02 * (known.length - 1))]!
  const high = known[Math.ceil(0.98 * (known.length - 1))]!
  return high > low ? [low, high] : [low, low + 1]
}

/** (n, 4) RGBA of a column; of no column the accent. */
export function coloursOf(coded: Coded | null, n: number, theme: Theme): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(4 * n)
  const words = new Uint32Array(out.buffer)
  const word = ([r, g, b]: Rgb, a = 230) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0
  const grey = word(rgb(GREY[theme]), 150)
  if (coded === null) {
    words.fill(word(rgb(theme === 'dark' ? '#6CB6FF' : '#0B63CE')))
    return out
  }
  const { codes, legend } = coded
  if (codes instanceof Float32Array) {
    const [low, high] = clips(codes)
    const table = Array.from({ length: 256 }, (_, at) => word(ramp(at / 255)))
    for (let row = 0; row < n; row++) {
      const value = codes[row]!
      const at = Math.round((255 * (value - low)) / (high - low))
      words[row] = Number.isFinite(value) ? table[Math.max(0, Math.min(255, at))]! : grey
    }
    return out
  }
  const table = legend.values.map((_, at) => (at < HUES ? word(rgb(hue(at, theme))) : grey))
  for (let row = 0; row < n; row++) words[row] = table[codes[row]!] ?? grey
  return out
}
