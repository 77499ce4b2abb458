/** What is known of the open workspace: its columns, stages and columns of codes for colouring. */
import { api, bytes, isAborted, ok, patient, type Schemas } from '../lib/api'

type Legend = Schemas['LegendAnswer']
type ColumnInfo = Schemas['ColumnInfo']

export interface Coded {
  legend: Legend
  codes: Uint8Array | Uint16Array | Float32Array
}

class Workspace {
  list = $state.raw<Schemas['WorkspaceEntry'][] | null>(null)
  info = $state.raw<Schemas['Info'] | null>(null)
  columns = $state.raw<ColumnInfo[]>([])
  error = $state.raw<unknown>(null)
  /** Rows that somebody looks at: at most one has the focus. */
  focus = $state<number | null>(null)
  /** Raised when the server answers from a newer snapshot than before: a published one is loaded beside the old. */
  epoch = $state(0)
  #copies = $state.raw<Map<number, number> | null>(null)
  #coded = new Map<string, Promise<Coded>>()

  has(column: string): boolean {
    return this.columns.some((one) => one.name === column)
  }

  /** Whether a stage has run. */
  ran(stage: string): boolean {
    return this.info !== null && this.info.stages[stage] !== 'missing'
  }

  async loadList(): Promise<void> {
    this.list = (await patient(() => ok(api.GET('/v1/workspaces')))).workspaces
  }

  async load(ws: string, signal: AbortSignal): Promise<void> {
    try {
      const path = { params: { path: { ws } }, signal }
      const [info, columns] = await patient(
        () =>
          Promise.all([
            ok(api.GET('/v1/workspaces/{ws}', path)),
            ok(api.GET('/v1/workspaces/{ws}/columns', path)),
          ]),
        signal,
      )
      if (this.info?.snapshot !== info.snapshot) this.#coded.clear()
      this.info = info
      this.columns = columns.columns
      this.error = null
    } catch (error) {
      if (!isAborted(error)) this.error = error
    }
  }

  /** How many images a kept one stands for, as far as that has been asked. */
  copiesOf(row: number): number {
    return this.#copies?.get(row) ?? 0
  }

  /** Ask once how many images each kept one stands for. */
  async loadCopies(ws: string): Promise<void> {
    if (!this.has('representative')) return
    const { codes, legend } = await this.coded(ws, 'representative')
    const out = new Map<number, number>()
    for (let row = 0; row < codes.length; row++) {
      const of = legend.kind === 'number' ? codes[row]! : Number(legend.values[codes[row]!] ?? NaN)
      if (Number.isFinite(of) && of !== row) out.set(of, (out.get(of) ?? 0) + 1)
    }
    this.#copies = out
  }

  forget(): void {
    this.#copies = null
    this.info = null
    this.columns = []
    this.error = null
    this.#coded.clear()
  }

  /** A column as codes or numbers, asked for once. */
  coded(ws: string, column: string): Promise<Coded> {
    const key = `${ws} ${this.info?.snapshot} ${this.epoch} ${column}`
    let found = this.#coded.get(key)
    if (!found) {
      found = codesOf(ws, column)
      found.catch(() => this.#coded.delete(key))
      this.#coded.set(key, found)
    }
    return found
  }
}

async function codesOf(ws: string, name: string): Promise<Coded> {
  const path = { params: { path: { ws, name } } }
  const [legend, response] = await Promise.all([
    ok(api.GET('/v1/workspaces/{ws}/columns/{name}/legend', path)),
    bytes(`/v1/workspaces/${encodeURIComponent(ws)}/columns/${encodeURIComponent(name)}/codes`),
  ])
  const buffer = await response.arrayBuffer()
  const kinds = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array }
  return { legend, codes: new kinds[legend.dtype](buffer) }
}

export const workspace = new Workspace()
