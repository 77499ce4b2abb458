/** A selection as it is asked for: one value for the form, the job, the YAML and the command line. */

export interface Strategy {
  kind: string
  strength?: number
  column?: string
  to?: string
  target?: string
  min?: number
  max?: number
}

/** What the evidence of a stored selection tells of one measure, at the curve's budgets. */
export interface Band {
  selected: number[]
  random_mean: number[]
  random_low: number[]
  random_high: number[]
  every_nth: number[]
}

export interface Curve {
  budgets: number[]
  mean_similarity: Band
  worst_similarity: Band
  share_within: Band
  path: [number[], number[]]
  n_random: number
}

/** How many picks cover which share. */
export interface Plan {
  path: [number[], number[]]
  needs: { share: number; picks: number | null }[]
  threshold: number
}

/** Which pick covers each row first: from 1; 0 from the start, -1 none, -2 not to be covered. */
export interface Cover {
  threshold: number
  first: Int32Array
}

/** Whether an image is to be covered and the first picks do not. */
export const isUncovered = (first: number, budget: number): boolean => first === -1 || first > budget

/** How many images the first picks cover, and how many are to be covered. */
export function coveredBy({ first }: Cover, budget: number): { n: number; of: number } {
  let [n, of] = [0, 0]
  for (const pick of first) {
    if (pick >= 0 && pick <= budget) n++
    if (pick >= -1) of++
  }
  return { n, of }
}

/** A column's balance with the first picks instead of all; as it is where their groups were not noted. */
export function balanceOf(
  whole: Balance,
  at: number,
  picks: { groups?: (string | null)[] | null }[],
): Balance {
  if (picks.some((pick) => !pick.groups)) return whole
  const taken = new Map<string, number>()
  for (const { groups } of picks) {
    const value = groups![at]
    if (value != null) taken.set(value, (taken.get(value) ?? 0) + 1)
  }
  const groups = whole.groups.map(([value, n]): [string, number, number] => [value, n, taken.get(value) ?? 0])
  return { ...whole, groups, n_hit: taken.size }
}

export interface Balance {
  column: string
  /** Value, images with it, picks with it. */
  groups: [string, number, number][]
  n_groups: number
  n_hit: number
}

export interface Wish {
  name: string
  budget: string
  method: string
  strategies: Strategy[]
  per_group: string
  quotas: string
  min_distance: number
  spacing_s: number
  stop_coverage: number | null
  threshold: number | null
  preselected: string
  scores: string
  filter: Record<string, unknown> | null
}

export const METHODS: [string, string][] = [
  ['mixed', 'Stand for much and lie far apart: the two below in one. The default'],
  ['representative', 'What is most like everything not yet represented (facility location)'],
  ['diverse', 'What is farthest from all picks (k-center); outliers are set aside first'],
  ['dpp', 'What the picks explain least (log-determinant); outliers are set aside first'],
  ['coverage', 'What has most uncovered images within the threshold (ProbCover)'],
  ['graph_cut', 'What keeps the mean of the picks near the mean of all'],
  ['typicality', 'The most closely surrounded of each cluster (TypiClust)'],
  ['hierarchical', 'Evenly over a tree of clusters'],
  ['uncertainty', 'The highest scores of a column'],
  ['strategies', 'Several wishes at once, as a product'],
  ['random', 'A control: drawn by the seed'],
  ['every_nth', 'A control: every n-th image'],
]

/** Kinds of strategies and which fields each has. */
export const KINDS: Record<
  string,
  { what: string; fields: ('column' | 'to' | 'target' | 'min' | 'max')[]; strength: boolean }
> = {
  diversity: { what: 'Cosine distance to the nearest pick', fields: [], strength: true },
  representative: { what: 'Similarity to all images that a pick adds', fields: [], strength: true },
  coverage: { what: 'Images within the threshold that no pick covers', fields: [], strength: true },
  typicality: { what: '1 / mean distance to the neighbours', fields: [], strength: true },
  weights: { what: 'A column, as a share of its highest value', fields: ['column'], strength: true },
  similarity: { what: 'Likeness to a row, a selection or a column', fields: ['to'], strength: true },
  uncertainty: { what: 'A score, or probabilities p1,p2,...', fields: ['column'], strength: true },
  balance: { what: "Nears the target's shares of a column", fields: ['column', 'target'], strength: true },
  random: { what: 'A number drawn for each image', fields: [], strength: true },
  threshold: {
    what: 'Leaves out who is below min or above max',
    fields: ['column', 'min', 'max'],
    strength: false,
  },
}

/** Only what differs from the default, as the server's job takes it. */
export function paramsOf(wish: Wish): Record<string, unknown> {
  const strategies = wish.method === 'strategies' ? wish.strategies.map(stated) : []
  return {
    name: wish.name,
    budget: /^\d+$/.test(wish.budget) ? Number(wish.budget) : wish.budget,
    ...(strategies.length ? { strategies } : { method: wish.method }),
    ...(wish.per_group && { per_group: wish.per_group, quotas: wish.quotas || 'equal' }),
    ...(wish.min_distance > 0 && { min_distance: wish.min_distance }),
    ...(wish.spacing_s > 0 && { spacing_s: wish.spacing_s }),
    ...(wish.threshold !== null && { threshold: wish.threshold }),
    ...(wish.stop_coverage !== null && { stop_coverage: wish.stop_coverage }),
    ...(wish.preselected && { preselected: wish.preselected }),
    ...(wish.method === 'uncertainty' && wish.scores && { scores: wish.scores }),
    ...(wish.filter && { filter: wish.filter }),
  }
}

function stated(strategy: Strategy): Record<string, unknown> {
  const { fields, strength } = KINDS[strategy.kind]!
  const out: Record<string, unknown> = { kind: strategy.kind }
  for (const name of fields) {
    const value = strategy[name]
    if (value !== undefined && value !== '') out[name] = value
  }
  if (strength && strategy.strength !== undefined && strategy.strength !== 1)
    out['strength'] = strategy.strength
  return out
}

/** The same as a part of a configuration file. */
export function yamlOf(wish: Wish): string {
  const lines = ['select:']
  for (const [name, value] of Object.entries(paramsOf(wish))) {
    if (name === 'strategies') {
      lines.push('  strategies:')
      for (const one of value as Record<string, unknown>[]) lines.push(`    - ${flow(one)}`)
    } else lines.push(`  ${name}: ${typeof value === 'object' ? flow(value) : scalar(value)}`)
  }
  return `${lines.join('\n')}\n`
}

/** And as a command. */
export function commandOf(ws: string, wish: Wish): string {
  const flags: Record<string, string> = { spacing_s: 'spacing', strategies: 'strategies' }
  const parts = Object.entries(paramsOf(wish)).map(([name, value]) => {
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
    return `--${flags[name] ?? name.replaceAll('_', '-')} ${/^[\w.%,:-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`}`
  })
  return `curator select -w ${ws} ${parts.join(' ')}`
}

const scalar = (value: unknown): string =>
  typeof value === 'string' && !/^[A-Za-z][\w .%-]*$|^[\d.]+%$/.test(value)
    ? JSON.stringify(value)
    : String(value)

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`
  if (value !== null && typeof value === 'object') {
    return `{${Object.entries(value)
      .map(([name, of]) => `${scalar(name)}: ${flow(of)}`)
      .join(', ')}}`
  }
  return scalar(value)
}

/** A value between the points of a curve; beyond its ends the end's. */
export function between(x: number[], y: number[], at: number): number {
  if (!x.length) return NaN
  let i = x.findIndex((one) => one >= at)
  if (i < 0) i = x.length - 1
  if (i === 0 || x[i] === at) return y[i]!
  const share = (at - x[i - 1]!) / (x[i]! - x[i - 1]!)
  return y[i - 1]! + Math.min(1, share) * (y[i]! - y[i - 1]!)
}

/** Picks that cover a share of all images; null where no number was found to. */
export const needed = (plan: Plan, share: number): number | null =>
  plan.needs.find((one) => one.share === share)?.picks ?? null
