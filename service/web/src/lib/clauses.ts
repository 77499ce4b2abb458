/** Conditions of a filter as the page makes them, and how they are told. The server knows more kinds. */
import { figure, plural, shown } from './format'

export type Clause = Record<string, unknown>

/** One filter out of several conditions, as the server takes it. */
export function joined(clauses: Clause[]): Clause | null {
  return clauses.length === 0 ? null : clauses.length === 1 ? clauses[0]! : { and: clauses }
}

/** The conditions in an address; what cannot be read is left out. */
export function parsed(text: string): Clause[] {
  if (!text) return []
  try {
    const found: unknown = JSON.parse(text)
    return Array.isArray(found) ? found.filter((one) => one && typeof one === 'object') : []
  } catch {
    return []
  }
}

/** What a condition is about: conditions on the same thing replace each other. */
export function subject(clause: Clause): string {
  if (typeof clause['column'] === 'string') return `column ${clause['column']}`
  if (Array.isArray(clause['or'])) return clause['or'].length ? subject(clause['or'][0]) : 'or'
  return Object.keys(clause)[0] ?? ''
}

const SIGNS: Record<string, string> = { eq: '=', ne: '≠', lt: '<', le: '≤', gt: '>', ge: '≥' }

/** A condition in words. */
export function sentence(clause: Clause): string {
  const column = clause['column']
  if (typeof column === 'string') return test(column, clause)
  if ('tag' in clause) return `tag: ${shown(clause['tag'])}`
  if ('collection' in clause) return `collection: ${shown(clause['collection'])}`
  if ('selection' in clause) return `selection: ${shown(clause['selection'])}`
  if (Array.isArray(clause['area'])) return 'drawn area'
  if (Array.isArray(clause['rows'])) return plural(clause['rows'].length, 'chosen image')
  if (Array.isArray(clause['or'])) return clause['or'].map(sentence).join(' or ')
  if (Array.isArray(clause['and'])) return clause['and'].map(sentence).join(' and ')
  if (clause['not']) return `not ${sentence(clause['not'] as Clause)}`
  return JSON.stringify(clause)
}

function test(column: string, clause: Clause): string {
  const { between, is_null: isNull } = clause
  if (Array.isArray(clause['in'])) return `${column}: ${clause['in'].map(shown).join(', ')}`
  if (Array.isArray(between)) return `${column} ${figure(between[0])} to ${figure(between[1])}`
  if (isNull !== undefined) return isNull ? `${column}: missing` : `${column}: present`
  if ('has' in clause) return `${column}: ${shown(clause['has'])}`
  if ('contains' in clause) return `${column} contains “${String(clause['contains'])}”`
  if ('starts_with' in clause) return `${column} begins with “${String(clause['starts_with'])}”`
  return Object.entries(clause)
    .filter(([key]) => key in SIGNS)
    .map(([key, value]) => `${column} ${SIGNS[key]} ${shown(value)}`)
    .join(' and ')
}
