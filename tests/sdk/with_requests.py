"""requests, as anybody writes it."""

import requests

import steps


def refund(cents, note):
    answer = requests.post(
        "https://api.stripe.com/v1/refunds",
        data={"charge": steps.CHARGE, "amount": cents, "metadata[note]": note},
        auth=("sk_dummy_the_agent_holds_nothing", ""),
        timeout=30,
    )
    body = answer.json()
    if answer.ok:
        return answer.status_code, {"id": body["id"], "amount": body["amount"]}
    return answer.status_code, {"message": body["error"]["message"], "approval": body.get("approval", {}).get("id")}


steps.run(refund)
