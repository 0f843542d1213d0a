// Functions that both programs share. A program ends at the first result that differs from what Docker returns.
import assert from "node:assert/strict";

/** Returns the body of a page, for which it waits. */
export async function page(url) {
  for (const deadline = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      assert(Date.now() < deadline, `${url}: ${error}`);
    }
  }
}

/** Returns all of a stream as text. */
export async function text(stream) {
  const parts = [];
  for await (const part of stream) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString();
}

/** Checks that a promise is rejected with a status and a text. */
export async function refused(promise, status, part) {
  const error = await promise.then(() => undefined, (e) => e);
  assert(error, `no error with ${part}`);
  assert.equal(error.statusCode, status, error.message);
  assert(error.message.includes(part), error.message);
}
