/** Who one is, and whether the server can be reached. */

type Role = 'reader' | 'reviewer' | 'admin'
const RANK: Record<Role, number> = { reader: 0, reviewer: 1, admin: 2 }

class Session {
  who = $state('')
  role = $state<Role>('reader')
  via = $state('')
  csrf = ''
  /** Whether the page waits for a token. */
  isAsked = $state(false)
  refusal = $state('')
  #waiting: (() => void)[] = []

  may(role: Role): boolean {
    return RANK[this.role] >= RANK[role]
  }

  /** Learn who one is; false where a token is needed. */
  async load(): Promise<boolean> {
    const response = await fetch('/v1/session')
    if (response.status === 401) return false
    if (!response.ok) throw new Error(`the server answered ${response.status} when asked who this is`)
    this.#take(await response.json())
    return true
  }

  /** Wait until somebody has signed in. */
  signIn(): Promise<void> {
    this.isAsked = true
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Try a token; true when it is good and what waited goes on. */
  async offer(token: string): Promise<boolean> {
    const response = await fetch('/v1/session', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ token }),
    })
    const body = await response.json().catch(() => ({}))
    if (!response.ok) {
      this.refusal = body.error?.message ?? `the server answered ${response.status}`
      return false
    }
    this.#take(body)
    this.refusal = ''
    this.isAsked = false
    this.#waiting.splice(0).forEach((go) => go())
    return true
  }

  async signOut(): Promise<void> {
    await fetch('/v1/session', { method: 'DELETE', headers: { 'x-curator-csrf': this.csrf } })
    location.reload()
  }

  #take(body: { who: string; role: string; via: string; csrf: string }): void {
    this.who = body.who
    this.role = body.role as Role
    this.via = body.via
    this.csrf = body.csrf
  }
}

/** Whether the server can be reached; tries again by itself while it cannot. */
class Link {
  isLost = $state(false)
  #waiting: (() => void)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined

  lose(): void {
    if (this.isLost) return
    this.isLost = true
    this.#try(500)
  }

  find(): void {
    if (!this.isLost) return
    this.isLost = false
    clearTimeout(this.#timer)
    this.#waiting.splice(0).forEach((go) => go())
  }

  /** Resolves when the server answers again. */
  found(signal?: AbortSignal): Promise<void> {
    if (!this.isLost) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve)
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    })
  }

  #try(ms: number): void {
    this.#timer = setTimeout(async () => {
      try {
        if ((await fetch('/healthz')).ok) return this.find()
      } catch {
        // still gone
      }
      this.#try(Math.min(2 * ms, 5000))
    }, ms)
  }
}

export const session = new Session()
export const link = new Link()
