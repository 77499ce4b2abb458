/** Numbers and names as a person reads them, everywhere alike. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export const count = (n: number): string => whole.format(n)

export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`

export const percent = (share: number, digits = 0): string =>
  Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : '–'

/** A measure with as many digits as matter: 0.934, 12.4, 1,240. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (Number.isInteger(value) && size < 1e15) return count(value)
  return size >= 1000
    ? count(value)
    : size >= 10
      ? value.toFixed(1)
      : size >= 0.001
        ? value.toFixed(3)
        : value.toExponential(1)
}

/** Any value of a column. */
export function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–'
  if (typeof value === 'number') return figure(value)
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.length ? value.map(shown).join(', ') : '–'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** The last part of a path, with the frame of a video where there is one. */
export const nameOf = (uri: string): string => uri.split('/').pop() || uri

export function bytesOf(n: number): string {
  return n < 1e3 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(0)} KB` : `${(n / 1e6).toFixed(1)} MB`
}

/** When something was, told shortly. */
export function ago(seconds: number, now = Date.now() / 1000): string {
  const past = now - seconds
  if (past < 45) return 'just now'
  if (past < 3600) return `${Math.max(1, Math.round(past / 60))} min ago`
  if (past < 86_400) return `${Math.round(past / 3600)} h ago`
  return new Date(1000 * seconds).toLocaleDateString()
}

/** How long something took or will take. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}

/** Counts of a stage by its own names, as words: {n: 378, n_flagged: 6} is "378 images, 6 flagged". */
export function counted(counts: Record<string, unknown>): string {
  return Object.entries(counts)
    .filter(([, value]) => typeof value === 'number' && value !== 0)
    .map(([name, value]) => {
      const text = figure(value as number)
      if (name === 'n') return `${text} images`
      const words = name.replaceAll('_', ' ')
      return words.startsWith('n ') ? `${text} ${words.slice(2)}` : `${words} ${text}`
    })
    .join(', ')
}
