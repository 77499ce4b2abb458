import type { Schemas } from './api'

/** How a column's values are spread: counts of values, or a histogram. */
export type FacetData = Schemas['FacetAnswer'] & {
  values?: { value: unknown; count: number }[]
  other?: number
  n_other?: number
  edges?: number[]
  counts?: number[]
}
