import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test, vi } from 'vitest'

// the keys listen to the window as soon as they are loaded; here there is none
vi.stubGlobal('addEventListener', () => undefined)
vi.stubGlobal('HTMLElement', class {})
let keys: typeof import('./keys')
beforeAll(async () => {
  keys = await import('./keys')
})

const event = (key: string, more: Partial<KeyboardEvent> = {}) => {
  const made = { key, target: null, prevented: false, ...more } as KeyboardEvent & { prevented: boolean }
  made.preventDefault = () => (made.prevented = true)
  return made
}

test('every key of the sheet is bound somewhere', () => {
  const root = join(import.meta.dirname, '..')
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.svelte'))
    .map((name) => readFileSync(join(root, name), 'utf8'))
    .join('\n')
  const isBound = (id: string) => [`'${id}'`, `${id}:`, `      ${id},`].some((text) => sources.includes(text))
  const made = ['review.accept', 'review.discard', 'review.skip'] // from the queue's choices
  expect(keys.KEYS.map(([id]) => id).filter((id) => !isBound(id) && !made.includes(id))).toEqual([])
})

test('the newest binding is asked, and asked no more when it is gone', () => {
  const said: string[] = []
  const first = keys.bind({ 'grid.left': () => said.push('grid') })
  const second = keys.bind({ 'review.previous': () => said.push('review') })
  keys.press(event('ArrowLeft'))
  second()
  keys.press(event('ArrowLeft'))
  first()
  const unheard = event('ArrowLeft')
  keys.press(unheard)
  expect(said).toEqual(['review', 'grid'])
  expect(unheard.prevented).toBe(false)
})

test('modifiers and prefixes are part of a key', () => {
  expect(keys.named(event('F', { shiftKey: true }))).toBe('Shift+F')
  expect(keys.named(event('z', { ctrlKey: true }))).toBe('Ctrl+Z')
  expect(keys.named(event('?', { shiftKey: true }))).toBe('?')
  expect(keys.named(event(' '))).toBe('Space')
  const said: string[] = []
  const gone = keys.bind({ 'go.explore': () => said.push('go'), exclude: () => said.push('exclude') })
  keys.press(event('g'))
  keys.press(event('e'))
  keys.press(event('e'))
  gone()
  expect(said).toEqual(['go', 'exclude'])
})

test('single letters rest where somebody wants them to', () => {
  const said: string[] = []
  const gone = keys.bind({ tag: () => said.push('tag'), undo: () => said.push('undo') })
  keys.useLetters(false)
  keys.press(event('t'))
  keys.press(event('z', { ctrlKey: true }))
  keys.useLetters(true)
  gone()
  expect(said).toEqual(['undo'])
})
