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
 * Replaces those children of an element that are not the same already: what nobody has changed keeps the focus.
 * @param {HTMLElement} element
 * @param {Node[]} children
 */
export function fill(element, children) {
  for (const [place, child] of children.entries()) {
    const is = element.childNodes[place];
    if (!is) element.append(child);
    else if (!is.isEqualNode(child)) is.replaceWith(child);
  }
  while (element.childNodes.length > children.length) element.lastChild?.remove();
}

/** @param {number} ms */
export function seconds(ms) {
  return `${(Math.max(0, ms) / 1_000).toFixed(1)} s`;
}

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
