// What the server has.

/** The parsed JSON at a path. */
export async function json(path) {
  return (await get(path)).json();
}

/** The 32-bit integers at a path. */
export async function integers(path) {
  return new Int32Array(await (await get(path)).arrayBuffer());
}

async function get(path) {
  let answer;
  try {
    answer = await fetch(path);
  } catch {
    throw new Error("the server does not answer: has hubmap-view been stopped?");
  }
  if (!answer.ok) {
    throw new Error(await reason(answer));
  }
  return answer;
}

/** What the server says is wrong. */
async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

/** Why a tile could not be had, asked for once more. */
export async function tileProblem(url) {
  const answer = await fetch(url).catch(() => null);
  if (answer === null) {
    return "the server does not answer: has hubmap-view been stopped?";
  }
  return answer.ok ? null : reason(answer);
}
