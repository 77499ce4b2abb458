/** Light or dark, for what is drawn on a canvas: the header's choice, or else the system's. */
import type { Theme } from '../lib/colours'

class Appearance {
  theme = $state<Theme>('light')

  constructor() {
    const media = matchMedia('(prefers-color-scheme: dark)')
    const look = () =>
      (this.theme = (document.documentElement.dataset['theme'] ??
        (media.matches ? 'dark' : 'light')) as Theme)
    look()
    media.addEventListener('change', look)
    new MutationObserver(look).observe(document.documentElement, { attributeFilter: ['data-theme'] })
  }
}

export const appearance = new Appearance()
