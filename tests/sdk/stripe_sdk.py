"""Stripe's own SDK. Untouched, or with one line where $API_BASE names the upstream in clear."""

import os

import stripe

import steps

stripe.api_key = "sk_dummy_the_agent_holds_nothing"
if "API_BASE" in os.environ:
    stripe.api_base = os.environ["API_BASE"]


def refund(cents, note):
    try:
        made = stripe.Refund.create(charge=steps.CHARGE, amount=cents, metadata={"note": note})
        return 200, {"id": made.id, "amount": made.amount}
    except stripe.StripeError as no:
        body = no.json_body or {}
        approval = body.get("approval", {}).get("id")
        return no.http_status, {"raised": type(no).__name__, "message": str(no), "approval": approval}


steps.run(refund)
