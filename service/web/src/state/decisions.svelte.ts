/**
 * Decisions: drawn at once, sent with a key that makes sending twice harmless, rolled back where the server refuses,
 * and taken back with Ctrl+Z. While the server is away they wait in order and are sent when it is back.
 */
import { api, ApiError, Offline, ok, type Schemas } from '../lib/api'
import { link } from './session.svelte'
import { toasts } from './toasts.svelte'

const MOST_WAITING = 500

/** Numbers of the decisions that an answer names. */
type Made = Schemas['DecisionAnswer'] | { decisions: number[] }

export interface Deed {
  /** What was done, as the message says it. */
  what: string
  ws: string
  send: (key: string) => Promise<Made>
  /** Draw it. */
  apply?: () => void
  /** Draw it undone. */
  revert?: () => void
  /** No message, where the view itself shows what was done. */
  quiet?: boolean
  /** It took decisions back: to undo it is to do them again. */
  takesBack?: boolean
  /** Somebody decided about the same in the meantime. */
  onclash?: () => void
}

interface Done extends Deed {
  ids: number[]
}

const numbersOf = (made: Made): number[] =>
  'id' in made ? [made.id as number] : (made.decisions as number[])

class Decisions {
  /** Not sent yet. */
  unsent = $state(0)
  /** Raised by every decision that the server took or took back. */
  revision = $state(0)
  #done: Done[] = []
  #undone: Done[] = []
  #tail: Promise<unknown> = Promise.resolve()

  get canUndo(): boolean {
    return this.#done.length > 0
  }

  /** Do a deed; false where it was refused. */
  async act(deed: Deed): Promise<boolean> {
    if (this.unsent >= MOST_WAITING) {
      toasts.fail(new Error(`${MOST_WAITING} decisions wait for the server already; this one was not kept`))
      return false
    }
    deed.apply?.()
    const key = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`
    this.unsent++
    const turn = this.#tail.then(() => this.#sent(() => deed.send(key)))
    this.#tail = turn.catch(() => undefined) // one after the other, in the order in which they were made
    try {
      const made = await turn
      const done: Done = { ...deed, ids: numbersOf(made) }
      this.#done.push(done)
      this.#undone = []
      this.revision++
      if (!deed.quiet) toasts.say(deed.what, () => void this.undo(done))
      return true
    } catch (error) {
      deed.revert?.()
      const clash = error instanceof ApiError && error.status === 409
      if (clash) deed.onclash?.()
      toasts.fail(error, clash ? 'Somebody decided in the meantime' : `Not done (${deed.what.toLowerCase()})`)
      return false
    } finally {
      this.unsent--
    }
  }

  /** Take back the last deed of this page, or a given one. */
  async undo(which?: Deed): Promise<void> {
    await this.#tail // what is still on its way is what was done last
    const at = which ? this.#done.findIndex((one) => one === which) : this.#done.length - 1
    const [deed] = at < 0 ? [] : this.#done.splice(at, 1)
    if (!deed) return toasts.say('Nothing to undo')
    try {
      for (const number of [...deed.ids].reverse())
        await this.#turned(deed.ws, number, deed.takesBack ? 'redo' : 'undo')
      deed.revert?.()
      this.#undone.push(deed)
      this.revision++
      toasts.say(`Undone: ${deed.what.toLowerCase()}`)
    } catch (error) {
      this.#done.splice(at, 0, deed)
      toasts.fail(error, 'Not undone')
    }
  }

  async redo(): Promise<void> {
    await this.#tail
    const deed = this.#undone.pop()
    if (!deed) return toasts.say('Nothing to redo')
    try {
      for (const number of deed.ids) await this.#turned(deed.ws, number, deed.takesBack ? 'undo' : 'redo')
      deed.apply?.()
      this.#done.push(deed)
      this.revision++
      toasts.say(`Done again: ${deed.what.toLowerCase()}`)
    } catch (error) {
      this.#undone.push(deed)
      toasts.fail(error, 'Not done again')
    }
  }

  async #turned(ws: string, number: number, how: 'undo' | 'redo'): Promise<void> {
    await this.#sent(() =>
      ok(
        how === 'undo'
          ? api.POST('/v1/workspaces/{ws}/decisions/{number}/undo', { params: { path: { ws, number } } })
          : api.POST('/v1/workspaces/{ws}/decisions/{number}/redo', { params: { path: { ws, number } } }),
      ),
    )
  }

  async #sent<T>(send: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await send()
      } catch (error) {
        if (!(error instanceof Offline)) throw error
        await link.found()
      }
    }
  }
}

export const decisions = new Decisions()

addEventListener('beforeunload', (event) => {
  if (decisions.unsent > 0) event.preventDefault()
})
