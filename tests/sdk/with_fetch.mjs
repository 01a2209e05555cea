// Node's own fetch, as anybody writes it.

import { CHARGE, run } from "./steps.mjs";

await run(async (amount, note) => {
  const answer = await fetch("https://api.stripe.com/v1/refunds", {
    method: "POST",
    headers: { Authorization: "Bearer sk_dummy_the_agent_holds_nothing" },
    body: new URLSearchParams({ charge: CHARGE, amount, "metadata[note]": note }),
  });
  const body = await answer.json();
  if (answer.ok) return [answer.status, { id: body.id, amount: body.amount }];
  return [answer.status, { message: body.error.message, approval: body.approval?.id }];
});
