import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** Tables of options, made from the comments of the interfaces in the source. */

const root = fileURLToPath(new URL('../', import.meta.url));

/** Where the interfaces stand. */
const FILES = new Map([
  ['EtcdLockModuleOptions', 'lib/lock.options.ts'],
  ['EtcdLockModuleExtras', 'lib/lock.module.ts'],
  ['LockOptions', 'lib/lock.options.ts'],
  ['DistributedLockOptions', 'lib/lock.decorator.ts'],
  ['CampaignOptions', 'lib/lock.campaign.ts'],
  ['OnlyLeaderOptions', 'lib/lock.only-leader.ts'],
  ['EtcdLockDashboardOptions', 'lib/dashboard/dashboard.options.ts'],
  ['EtcdLockDashboardExtras', 'lib/dashboard/dashboard.options.ts'],
]);

/** With a default, what it means: the table of the README. */
export function shortTable() {
  const rows = members('EtcdLockModuleOptions').map(({ name, fallback, text }) => [name, fallback, text]);
  return table(['option', 'default', 'meaning'], rows);
}

/**
 * With the types as well: the tables of docs/options.md.
 * @param {string} interfaceName
 */
export function fullTable(interfaceName) {
  const rows = members(interfaceName).map(({ name, type, fallback, text }) => [name, type, fallback, text]);
  return table(['option', 'type', 'default', 'meaning'], rows);
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
function table(head, rows) {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** @param {string} interfaceName */
function members(interfaceName) {
  const path = FILES.get(interfaceName);
  if (!path) throw new Error(`scripts/docs-options.mjs does not know where ${interfaceName} stands`);
  const source = ts.createSourceFile(path, readFileSync(root + path, 'utf8'), ts.ScriptTarget.Latest, true);
  const found = source.statements.find((node) => ts.isInterfaceDeclaration(node) && node.name.text === interfaceName);
  if (!found || !ts.isInterfaceDeclaration(found)) throw new Error(`no ${interfaceName} in ${path}`);
  return found.members.map((member) => {
    const doc = ts.getJSDocCommentsAndTags(member).find(ts.isJSDoc);
    if (!doc) throw new Error(`${interfaceName}.${member.name?.getText()} in ${path} has no comment`);
    const fallback = doc.tags?.find((tag) => tag.tagName.text === 'default');
    return {
      name: `\`${member.name?.getText()}\``,
      type: code(typeOf(member, found)),
      fallback: code(textOf(fallback?.comment)),
      text: textOf(doc.comment),
    };
  });
}

/**
 * As a reader wants it: without `undefined`, which every option may be, and with a type parameter as what it may be.
 * @param {ts.TypeElement} member
 * @param {ts.InterfaceDeclaration} owner
 */
function typeOf(member, owner) {
  const { type } = /** @type {ts.PropertySignature} */ (member);
  const parts = type && ts.isUnionTypeNode(type) ? [...type.types] : type ? [type] : [];
  return parts
    .map((part) => {
      const name = ts.isTypeReferenceNode(part) ? part.typeName.getText() : undefined;
      const parameter = owner.typeParameters?.find((each) => each.name.text === name);
      if (parameter?.constraint) return parameter.constraint.getText();
      if (part.getText().includes('=>') || name?.endsWith('Handler')) return 'function';
      return part.getText();
    })
    .filter((text) => text !== 'undefined')
    .join(' | ');
}

/** @param {string | ts.NodeArray<ts.JSDocComment> | undefined} comment */
function textOf(comment) {
  const text = ts.getTextOfJSDocComment(comment) ?? '';
  return text
    .replace(/\{@link (\w+)\}/g, '`$1`')
    .replace(/\s*\n\s*/g, ' ')
    .trim();
}

/** @param {string} text */
function code(text) {
  return text && `\`${text.replaceAll('|', '\\|')}\``;
}
