/* The section "This server": asks for the self-test and lists what it found, with what to change. */

import {withToken} from './access.js';

const $ = id => document.getElementById(id);

function shown({name, value, ok, advice}) {
  const item = document.createElement('li');
  item.className = {true: 'ok', false: 'bad'}[ok] || '';
  item.append(`${name}: ${value}`);
  if (advice) {
    const hint = document.createElement('span');
    hint.className = 'advice';
    hint.textContent = advice;
    item.append(hint);
  }
  return item;
}

async function test() {
  $('selftest-start').disabled = true;
  $('selftest-message').textContent = 'Testing…';
  try {
    const reply = await fetch('api/v1/selftest', {cache: 'no-store', headers: withToken()});
    const found = await reply.json();
    if (!reply.ok) throw new Error(found.detail || `The server answers ${reply.status}.`);
    $('selftest-lines').replaceChildren(...found.lines.map(shown));
    $('selftest-message').textContent = found.ok ? 'All is in order.' : 'Something is to be changed:';
  } catch (error) {
    $('selftest-lines').replaceChildren();
    $('selftest-message').textContent = error instanceof TypeError ? 'The server does not answer.' : error.message;
  } finally {
    $('selftest-start').disabled = false;
  }
}

/** Make the section work. */
export function connectSelfTest() {
  $('selftest-start').addEventListener('click', test);
}
