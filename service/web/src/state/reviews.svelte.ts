/** Reviews of one subject: what was said, sending more, and what somebody else said meanwhile. */
import { api, ok, patient } from '../lib/api'
import { holding, type Decision } from '../lib/review'

const MOST = 1000 // decisions looked at

export interface Said {
  rows: number[]
  value: string
  note: string
  /** Number of the newest decision that was seen about them: a later one is a conflict. */
  expect: number
}

export class Reviews {
  #seen = 0
  #known = new Map<number, number>()

  constructor(
    private ws: string,
    private subject: string,
    private post: (said: Said, key: string) => Promise<Decision>,
  ) {}

  /** What holds about each row now, oldest first; later decisions of others are conflicts. */
  async load(): Promise<Map<number, string>> {
    const log = await patient(() => this.#log(true))
    this.#seen = log[0]?.id ?? 0
    this.#known.clear()
    return holding(log)
  }

  async send(rows: number[], value: string, note: string, key: string): Promise<Decision> {
    const made = await this.post({ rows, value, note, expect: this.#expected(rows) }, key)
    for (const row of rows) this.#known.set(row, made.id)
    return made
  }

  /** The newest decision of somebody else about each row that came after what was seen. */
  async since(rows: number[]): Promise<Map<number, Decision>> {
    const out = new Map<number, Decision>()
    for (const one of (await this.#log(false)).toReversed()) {
      for (const row of rows) if (one.rows.includes(row) && one.id > this.#expected([row])) out.set(row, one)
    }
    return out
  }

  /** From now on a decision is known: saying something else about its row is meant. */
  saw(row: number, decision: Decision): void {
    this.#known.set(row, decision.id)
  }

  #expected(rows: number[]): number {
    return Math.max(this.#seen, ...rows.map((row) => this.#known.get(row) ?? 0))
  }

  async #log(hasUndone: boolean): Promise<Decision[]> {
    const query = { kind: 'review', subject: this.subject, limit: MOST, include_undone: hasUndone }
    const params = { path: { ws: this.ws }, query }
    return (await ok(api.GET('/v1/workspaces/{ws}/decisions', { params }))).decisions
  }
}
