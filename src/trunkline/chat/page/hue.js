// The colour of a member: the same for the same name, everywhere.

const HUES = [15, 50, 90, 135, 170, 210, 245, 280, 310, 345];

export function hue(name) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const char of name) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193);
  return HUES[(hash >>> 12) % HUES.length];
}
