/**
 * What is searched for: up to twelve examples, each like or unlike. Rows, texts and crops of rows are in the address;
 * pictures from outside stay in the page.
 */
import { address } from './address.svelte'

export const MOST = 12

export type Example = { isLike: boolean } & (
  | { kind: 'row'; row: number; box?: [number, number, number, number] }
  | { kind: 'text'; text: string }
  | { kind: 'picture'; name: string; file: Blob; url: string; box?: [number, number, number, number] }
)

class Query {
  #pictures = $state.raw<Example[]>([])
  #text = $derived(address.get('like')) // as text first: it stays while other parts of the address change
  #written = $derived(read(this.#text))
  examples = $derived<Example[]>([...this.#pictures, ...this.#written])

  set(examples: Example[]): void {
    for (const old of this.#pictures) {
      if (old.kind === 'picture' && !examples.includes(old)) URL.revokeObjectURL(old.url)
    }
    const kept = examples.slice(0, MOST)
    this.#pictures = kept.filter((one) => one.kind === 'picture')
    const written = kept.filter((one) => one.kind !== 'picture')
    address.set({ like: written.length ? JSON.stringify(written.map(short)) : null })
  }

  add(example: Example): void {
    const text = JSON.stringify(short(example))
    const others =
      example.kind === 'picture'
        ? this.examples
        : this.examples.filter((one) => JSON.stringify(short(one)) !== text)
    this.set([...others, example])
  }

  remove(example: Example): void {
    this.set(this.examples.filter((one) => one !== example))
  }

  turn(example: Example): void {
    this.set(this.examples.map((one) => (one === example ? { ...one, isLike: !one.isLike } : one)))
  }
}

type Short = [number, string | number, ...number[]]

function short(example: Example): Short | null {
  const sign = example.isLike ? 1 : 0
  if (example.kind === 'text') return [sign, example.text]
  if (example.kind === 'row') return [sign, example.row, ...(example.box ?? [])]
  return null
}

function read(text: string): Example[] {
  try {
    const found: unknown = text ? JSON.parse(text) : []
    return Array.isArray(found) ? found.flatMap(long).slice(0, MOST) : []
  } catch {
    return []
  }
}

function long(one: unknown): Example[] {
  if (!Array.isArray(one)) return []
  const [sign, what, ...box] = one as Short
  const isLike = sign === 1
  if (typeof what === 'string') return [{ isLike, kind: 'text', text: what }]
  if (!Number.isInteger(what)) return []
  return [
    {
      isLike,
      kind: 'row',
      row: what,
      ...(box.length === 4 && { box: box as [number, number, number, number] }),
    },
  ]
}

export const query = new Query()
