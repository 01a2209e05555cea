// The refunds every Node agent makes. `refund` takes an amount in cents and a note, and gives [status, answer].

import { createInterface } from "node:readline";

export const CHARGE = process.env.CHARGE;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(step, [status, answer]) {
  console.log(JSON.stringify({ step, status, answer }));
  return answer;
}

// Runs an approved request by its id, as a model would that no longer knows its own words.
async function execute(approval) {
  const answer = await fetch(`http://actpass.internal/v1/approvals/${approval}/execute`, { method: "POST" });
  return [answer.status, await answer.json()];
}

export async function run(refund) {
  say("small", await refund(12_000, "small"));
  say("huge", await refund(1_500_000, "huge"));
  say("repeat asked", await refund(250_000, "repeat"));
  await lines.next();
  say("repeat", await refund(250_000, "repeat"));
  say("repeat again", await refund(250_000, "repeat"));
  const asked = say("execute asked", await refund(250_000, "execute"));
  await lines.next();
  say("execute", await execute(asked.approval));
  say("execute again", await execute(asked.approval));
  process.exit(0);
}
