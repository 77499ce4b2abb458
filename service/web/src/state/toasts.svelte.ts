/** Short messages: what was done, with its undo, and what failed, with what to do. */
import { isAborted, Offline, told } from '../lib/api'

export interface Toast {
  id: number
  text: string
  hint: string
  requestId: string
  isError: boolean
  undo?: () => void
}

class Toasts {
  list = $state<Toast[]>([])
  /** Read out politely. */
  spoken = $state('')
  #next = 1

  say(text: string, undo?: () => void): void {
    this.#add({ text, hint: '', requestId: '', isError: false, ...(undo && { undo }) }, undo ? 8000 : 4000)
  }

  fail(error: unknown, before = ''): void {
    if (isAborted(error) || error instanceof Offline) return // a lost connection has a line of its own
    const { message, hint, id } = told(error)
    this.#add(
      { text: before ? `${before}: ${message}` : message, hint, requestId: id, isError: true },
      15_000,
    )
  }

  drop(id: number): void {
    this.list = this.list.filter((one) => one.id !== id)
  }

  #add(toast: Omit<Toast, 'id'>, ms: number): void {
    const id = this.#next++
    this.list = [...this.list.filter((one) => one.text !== toast.text), { id, ...toast }].slice(-3)
    this.spoken = toast.text
    setTimeout(() => this.drop(id), ms)
  }
}

export const toasts = new Toasts()
