// What is thrown when a law does not hold. Nothing else.

export class BrokenLaw extends Error {
  readonly law: string;

  constructor(law: string, detail: string) {
    super(`${law} (${detail})`);
    this.law = law;
  }
}

export function law(name: string, held: boolean, detail: () => string): void {
  if (!held) throw new BrokenLaw(name, detail());
}
