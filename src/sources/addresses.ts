// Which addresses are public. A host that no person wrote down (a wildcard, a redirect) may not lead into the gateway's own network: its
// name is looked up once, judged, and connected to as it was judged.
import { lookup } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

const PRIVATE = new BlockList();
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  // These hold an IPv4 address, which a translator or a tunnel goes to.
  ['::', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  // And these are of a site or a link.
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(net, bits, 'ipv6');

/** An IPv4 address in IPv6's clothes is judged as what it is: BlockList does so. */
export function isPublic(address: string): boolean {
  return !PRIVATE.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** Of a URL: an address in brackets, or none at all. */
export function isPrivateLiteral(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  return isIP(bare) !== 0 && !isPublic(bare);
}

/** `code` of the error where a name leads to an address that is not public. */
export const NOT_PUBLIC = 'ERR_NOT_PUBLIC';

export const lookupPublic: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, found) => {
    const hidden = error === null ? found.find(({ address }) => !isPublic(address)) : undefined;
    const [first] = found ?? [];
    if (error !== null) callback(error, '', 0);
    else if (hidden !== undefined || first === undefined)
      callback(Object.assign(new Error(`${hostname} is ${hidden?.address}`), { code: NOT_PUBLIC }), '', 0);
    else if (options.all === true) callback(null, found);
    else callback(null, first.address, first.family);
  });
};
