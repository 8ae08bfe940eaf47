// A name as the value of a response's header. Names may hold any letter; of a header, Node refuses some with an error that nobody would catch
// there, and writes others in an encoding that depends on what follows.

const PLAIN = /^[\x20-\x24\x26-\x7e]*$/;

/** As it is, where that is ASCII without "%"; else percent-encoded as in a URL: `decodeURIComponent` gives the name back. */
export function headerText(name: string): string {
  return PLAIN.test(name) ? name : name.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
}
