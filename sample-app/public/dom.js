/**
 * Makes an element. Texts become text and never markup, so that the name of a customer stays a name.
 * @param {string} tag with classes behind dots, as `li.row`
 * @param {...(Node | string | false | undefined)} children
 */
export function h(tag, ...children) {
  const [name = '', ...classes] = tag.split('.');
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(' ');
  element.append(...children.filter((child) => child instanceof Node || typeof child === 'string'));
  return element;
}

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}`);
  return element;
}

/**
 * Replaces what is in an element, if it is not the same already: what nobody has changed keeps the focus and is not read
 * out again.
 * @param {HTMLElement} element
 * @param {Node[]} children
 */
export function fill(element, children) {
  const is = element.childNodes;
  const isSame = is.length === children.length && children.every((child, i) => child.isEqualNode(is[i] ?? null));
  if (!isSame) element.replaceChildren(...children);
}

/** @param {number} ms */
export function seconds(ms) {
  return `${(Math.max(0, ms) / 1_000).toFixed(1)} s`;
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
