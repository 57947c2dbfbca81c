// Which words of two texts differ.

const MOST = 4_000_000;

/** Pieces of both texts in order: `["same" | "gone" | "new", text]`. */
export function different(one, other) {
  let parts = compared(one.split(/(\s+)/).filter(Boolean), other.split(/(\s+)/).filter(Boolean));
  parts ||= compared(one.split(/(?<=\n)/), other.split(/(?<=\n)/));
  return joined(parts || [["gone", one], ["new", other]]);
}

/** By the longest common subsequence; null where that would take too long. */
function compared(one, other) {
  let start = 0, end = 0;
  while (start < one.length && start < other.length && one[start] === other[start]) start += 1;
  while (end < one.length - start && end < other.length - start && one.at(-1 - end) === other.at(-1 - end)) end += 1;
  const left = one.slice(start, one.length - end), right = other.slice(start, other.length - end);
  if (left.length * right.length > MOST) return null;
  return [...one.slice(0, start).map((word) => ["same", word]), ...middle(left, right), ...one.slice(one.length - end).map((word) => ["same", word])];
}

function middle(left, right) {
  const wide = right.length + 1, common = new Uint32Array((left.length + 1) * wide);
  for (let row = left.length - 1; row >= 0; row -= 1) {
    for (let column = right.length - 1; column >= 0; column -= 1) {
      const at = row * wide + column;
      common[at] = left[row] === right[column] ? common[at + wide + 1] + 1 : Math.max(common[at + wide], common[at + 1]);
    }
  }
  const parts = [];
  let row = 0, column = 0;
  while (row < left.length || column < right.length) {
    if (row < left.length && column < right.length && left[row] === right[column]) {
      parts.push(["same", left[row]]);
      row += 1;
      column += 1;
    } else if (column >= right.length || (row < left.length && common[(row + 1) * wide + column] >= common[row * wide + column + 1])) parts.push(["gone", left[row++]]);
    else parts.push(["new", right[column++]]);
  }
  return parts;
}

function joined(parts) {
  const found = [];
  for (const [kind, words] of parts) {
    if (found.length && found.at(-1)[0] === kind) found.at(-1)[1] += words;
    else found.push([kind, words]);
  }
  return found;
}
