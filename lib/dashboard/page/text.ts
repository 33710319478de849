/**
 * Names, handlers and metadata come from others. Besides markup, which never becomes any here, they may have characters
 * that are not seen or that turn around what stands beside them, so that one name looks like another.
 */
export interface Piece {
  readonly text: string;
  /** Stands for a character that would not be seen. */
  readonly isHidden: boolean;
}

/**
 * Controls, formats such as the direction of writing, what is drawn as nothing, spaces that are not like others, and a space
 * at the beginning or at the end.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}]|(?! )\p{Zs}|^ | $/u;
const PIECES = new RegExp(`(?<hidden>${HIDDEN.source})|(?:(?!${HIDDEN.source})[^])+`, 'gu');

/** The text in pieces, of which those that would not be seen are named instead: `U+202E`. */
export function pieces(text: string): Piece[] {
  return Array.from(text.matchAll(PIECES), ({ 0: piece, groups }) =>
    groups?.hidden === undefined ? { text: piece, isHidden: false } : { text: codePoint(piece), isHidden: true },
  );
}

/** The same for places that take plain text only. */
export function plain(text: string): string {
  return HIDDEN.test(text)
    ? pieces(text)
        .map((piece) => (piece.isHidden ? `⟨${piece.text}⟩` : piece.text))
        .join('')
    : text;
}

function codePoint(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}
