// Tells the story: one line a step, and a count at the end.

let passed = 0;

/** One step. The first one that fails ends the story, because all later ones build on it. */
export async function step(name, tell) {
  const began = performance.now();
  try {
    const result = await tell();
    passed += 1;
    console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`);
    return result;
  } catch (failure) {
    console.log(`FAIL  ${name}`);
    console.log(failure.stack ?? failure);
    finish(1);
  }
}

/** The heading of a chapter. */
export function chapter(title) {
  console.log(`\n${title}`);
}

/** The last line, and the exit code that goes with it. */
export function finish(failed = 0) {
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
