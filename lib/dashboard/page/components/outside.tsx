import { pieces, plain } from '../text.js';

/** Text that comes from others: it stands for itself, whatever is written in it, and turns nothing around beside it. */
export function Outside({ text }: { text: string }) {
  return (
    <bdi class="outside">
      {pieces(text).map((piece) => (piece.isHidden ? <span class="hidden-character">{piece.text}</span> : piece.text))}
    </bdi>
  );
}

/** The same in one line that is cut where there is no more room; the whole text is shown on a hover. */
export function OutsideLine({ text }: { text: string }) {
  return (
    <span class="line" title={plain(text)}>
      <Outside text={text} />
    </span>
  );
}
