/** Sets of rows as short text: 3-7,12. */

export function written(rows: Iterable<number>): string {
  const sorted = [...rows].sort((a, b) => a - b)
  const out: string[] = []
  for (let at = 0; at < sorted.length;) {
    let end = at
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end]! + 1) end++
    out.push(end === at ? `${sorted[at]}` : `${sorted[at]}-${sorted[end]}`)
    at = end + 1
  }
  return out.join(',')
}

/** The rows of a text; parts that make no sense are left out, and more than a limit are too many. */
export function read(text: string, limit = 1_000_000): Set<number> {
  const out = new Set<number>()
  for (const part of text.split(',')) {
    const found = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(part)
    if (!found) continue
    const last = Number(found[2] ?? found[1])
    for (let row = Number(found[1]); row <= last && out.size < limit; row++) out.add(row)
  }
  return out
}
