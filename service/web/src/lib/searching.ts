/** Searches as the server takes them: as JSON, or as a form where pictures come along. */
import type { Example } from '../state/query.svelte'
import type { Clause } from './clauses'
import { failure, patient, reach, type Schemas } from './api'

interface Settings {
  k: number
  method: string
  groupBy: string
  space: string
  filter: Clause | null
  fields: string[]
  cursor?: string
}

export type Found = Schemas['SearchAnswer']
export type Verdict = Schemas['DuplicatesAnswer']

function plain(example: Example): Record<string, unknown> {
  const box = example.kind !== 'text' && example.box ? { box: example.box } : {}
  if (example.kind === 'row') return { row: example.row, ...box }
  return example.kind === 'text' ? { text: example.text } : { upload: example.name, ...box }
}

function bodyOf(examples: Example[], asked: Settings): Record<string, unknown> {
  const isWords = examples.every((one) => one.kind === 'text') // may become a search of tags, which takes no groups
  return {
    positives: examples.filter((one) => one.isLike).map(plain),
    negatives: examples.filter((one) => !one.isLike).map(plain),
    k: asked.k,
    fields: asked.fields,
    ...(asked.method !== 'auto' && !isWords && { method: asked.method }),
    ...(asked.groupBy && !isWords && { group_by: asked.groupBy }),
    ...(asked.space && { space: asked.space }),
    ...(asked.filter && { filter: asked.filter }),
    ...(asked.cursor && { cursor: asked.cursor }),
  }
}

export function search(
  ws: string,
  examples: Example[],
  asked: Settings,
  signal: AbortSignal,
): Promise<Found> {
  const body = JSON.stringify(bodyOf(examples, asked))
  const files = examples.flatMap((one) => (one.kind === 'picture' ? [one] : []))
  if (!files.length) return posted(`${place(ws)}/search`, body, signal)
  const form = new FormData()
  for (const one of files) form.append('files', one.file, one.name)
  form.append('request', body)
  return posted(`${place(ws)}/search/upload`, form, signal)
}

/** Whether a picture or a row is there already. */
export function already(ws: string, example: Example, signal: AbortSignal): Promise<Verdict> {
  if (example.kind !== 'picture') {
    return posted(
      `${place(ws)}/search/near-duplicates`,
      JSON.stringify({ example: plain(example), k: 5, fields: ['uri'] }),
      signal,
    )
  }
  const form = new FormData()
  form.append('file', example.file, example.name)
  form.append('k', '5')
  return posted(`${place(ws)}/search/near-duplicates/upload`, form, signal)
}

/** How many values fall into each of so many equal bins. */
export function binned(values: number[], low: number, high: number, bins: number): number[] {
  const out = new Array<number>(bins).fill(0)
  for (const value of values) {
    const bin = Math.floor((bins * (value - low)) / Math.max(1e-9, high - low))
    out[Math.max(0, Math.min(bins - 1, bin))]!++
  }
  return out
}

const place = (ws: string) => `/v1/workspaces/${encodeURIComponent(ws)}`

async function posted<T>(path: string, body: string | FormData, signal: AbortSignal): Promise<T> {
  const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : undefined
  const response = await patient(
    () => reach(path, { method: 'POST', body, signal, ...(headers && { headers }) }),
    signal,
  )
  if (!response.ok) throw await failure(response)
  return (await response.json()) as T
}
