// Types of the HTTP interface for the page: the contract on standard input, TypeScript on standard output.
// Words and refusals are left out; every refusal has the one error shape, which lib/api.ts reads.
import { text } from 'node:stream/consumers'
import openapiTS, { astToString } from 'openapi-typescript'

const WORDS = new Set(['description', 'summary', 'example', 'examples', 'title', 'tags'])

function plain(value, isNames = false) {
  if (Array.isArray(value)) return value.map((one) => plain(one))
  if (value === null || typeof value !== 'object') return value
  const kept = Object.entries(value).filter(([key]) => isNames || !WORDS.has(key))
  return Object.fromEntries(
    kept.map(([key, of]) => [key, plain(of, !isNames && ['properties', 'schemas', 'paths'].includes(key))]),
  )
}

const contract = plain(JSON.parse(await text(process.stdin)))
for (const operations of Object.values(contract.paths)) {
  for (const operation of Object.values(operations)) {
    if (!operation.responses) continue
    delete operation.security
    const good = Object.entries(operation.responses).filter(([status]) => Number(status) < 400)
    operation.responses = Object.fromEntries(good.map(([status, of]) => [status, { description: '', ...of }]))
  }
}
process.stdout.write(
  `// Made by types.mjs from the server's contract; a test holds it to the server.\n${astToString(await openapiTS(contract))}`,
)
