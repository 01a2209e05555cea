// Stripe's own SDK, untouched.

import Stripe from "stripe";
import { CHARGE, run } from "./steps.mjs";

const stripe = new Stripe("sk_dummy_the_agent_holds_nothing");

await run(async (amount, note) => {
  try {
    const made = await stripe.refunds.create({ charge: CHARGE, amount, metadata: { note } });
    return [200, { id: made.id, amount: made.amount }];
  } catch (no) {
    return [no.statusCode, { raised: no.constructor.name, message: no.message, approval: /apr_\w+/.exec(no.message)?.[0] }];
  }
});
