/** How tiles look, remembered by the browser. */

export const SIZES = [96, 128, 176, 240, 360]

class Tiles {
  step = $state(Number(localStorage.getItem('curator-tile') ?? (innerWidth < 800 ? 0 : 2)))
  isFilled = $state(localStorage.getItem('curator-fill') === 'yes')
  size = $derived(SIZES[this.step] ?? 176)

  resize(by: number): void {
    this.setStep(this.step + by)
  }

  setStep(step: number): void {
    this.step = Math.max(0, Math.min(SIZES.length - 1, step))
    localStorage.setItem('curator-tile', String(this.step))
  }

  toggleFill(): void {
    this.isFilled = !this.isFilled
    localStorage.setItem('curator-fill', this.isFilled ? 'yes' : 'no')
  }
}

export const tiles = new Tiles()
