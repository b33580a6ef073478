// Waiting for something that happens elsewhere: asked again and again, never longer than a limit.

const LIMIT = 15_000;

/** Asks until the answer is true-ish, and returns it. `what` ends the sentence "waited in vain for". */
export async function until(what, ask, limit = LIMIT) {
  const deadline = Date.now() + limit;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((wake) => setTimeout(wake, 25));
  }
}
