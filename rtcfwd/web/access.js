/* What requests carry and what the server tells of other ways to it: the token, STUN and TURN.
 *
 * The token comes from the page's field or from ?token=; it is kept in this page's memory only.
 * relay (?relay=1): media goes by a TURN server and no other way, to try one.
 */

export const access = {token: '', relay: false};

/** Headers with the token, where there is one. */
export function withToken(headers = {}) {
  return access.token ? {...headers, Authorization: `Bearer ${access.token}`} : headers;
}

/** The servers that `Link: <…>; rel="ice-server"` names in the reply to OPTIONS (RFC 9725 4.6). */
export async function iceServers(url) {
  const reply = await fetch(url, {method: 'OPTIONS', headers: withToken()});
  return parseIceServers(reply.headers.get('Link') || '');
}

export function parseIceServers(links) {
  const servers = [];
  // A browser joins the header's lines by commas; each begins with <.
  for (const [, urls, parameters] of links.matchAll(/<([^>]*)>([^<]*)/g)) {
    const value = name => (parameters.match(new RegExp(`;\\s*${name}="([^"]*)"`)) || [])[1];
    if (value('rel') !== 'ice-server') continue;
    const server = {urls};
    if (value('username')) Object.assign(server, {username: value('username'), credential: value('credential')});
    servers.push(server);
  }
  return servers;
}
