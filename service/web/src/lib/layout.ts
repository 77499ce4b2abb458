/**
 * Where tiles of one size lie, for any number of them. A browser takes no element taller than some 16 million px; above
 * that the scroll position is stretched, so that every row of tiles is reached and the scrollbar stays true.
 */
export const GAP = 6
export const TALLEST = 12_000_000

export interface Layout {
  columns: number
  /** px from one tile to the next. */
  pitch: number
  /** px of one tile. */
  tile: number
  /** px of all tiles, as they would be laid out whole. */
  height: number
  /** px of the element that scrolls. */
  scrolled: number
}

export function laidOut(total: number, width: number, wished: number): Layout {
  const columns = Math.max(1, Math.floor((width + GAP) / (wished + GAP)))
  const tile = Math.max(24, Math.floor((width - GAP * (columns - 1)) / columns))
  const pitch = tile + GAP
  const height = Math.max(0, Math.ceil(total / columns) * pitch - GAP)
  return { columns, pitch, tile, height, scrolled: Math.min(height, TALLEST) }
}

/** Top of what is seen, in px of the whole, at a scroll position. */
export function topAt(layout: Layout, scroll: number, view: number): number {
  if (layout.height <= TALLEST) return scroll
  return (scroll / Math.max(1, layout.scrolled - view)) * (layout.height - view)
}

/** The scroll position at which a place of the whole is on top. */
export function scrollAt(layout: Layout, top: number, view: number): number {
  if (layout.height <= TALLEST) return top
  return (top / Math.max(1, layout.height - view)) * (layout.scrolled - view)
}

/** First tile in sight and the one behind the last. */
export function inSight(
  layout: Layout,
  total: number,
  top: number,
  view: number,
  beyond = 1,
): [number, number] {
  const first = Math.max(0, Math.floor(top / layout.pitch) - beyond) * layout.columns
  const last = Math.min(total, (Math.ceil((top + view) / layout.pitch) + beyond) * layout.columns)
  return [Math.min(first, last), last]
}
