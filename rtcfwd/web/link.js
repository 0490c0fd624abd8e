/* The link that a phone opens to watch, and its QR code. Where this page was opened as localhost, the
 * server knows the address that other devices need. Behind a path of a proxy (/live/) only this page
 * knows the whole of it: then there is the link alone.
 */

const $ = id => document.getElementById(id);
const PAUSE_MS = 300;  // after the last letter that is typed
let timer = null;
let latest = '';

function linkHere(name) {
  const url = new URL('./', document.baseURI);
  url.search = new URLSearchParams({watch: name});
  return url;
}

async function ask(name) {
  const here = linkHere(name);
  let told = null;
  if (here.pathname === '/') {
    const reply = await fetch(`link?watch=${encodeURIComponent(name)}`).catch(() => null);
    told = reply && reply.ok ? await reply.json() : null;
  }
  if (name !== latest) return;
  $('page-url').textContent = told?.url || here.href;
  $('page-code').hidden = !told?.image;
  if (told?.image) $('page-code').src = told.image;
  $('page-note').hidden = !told || told.url !== null;
}

/** Show how to watch `name` on another device. */
export function showLink(name) {
  clearTimeout(timer);
  latest = name;
  if (!$('page-url').textContent) $('page-url').textContent = linkHere(name).href;
  timer = setTimeout(() => ask(name), PAUSE_MS);
}
