"""httpx, as anybody writes it."""

import httpx

import steps

client = httpx.Client(base_url="https://api.stripe.com", headers={"Authorization": "Bearer sk_dummy_the_agent_holds_nothing"})


def refund(cents, note):
    answer = client.post("/v1/refunds", data={"charge": steps.CHARGE, "amount": str(cents), "metadata[note]": note})
    body = answer.json()
    if answer.is_success:
        return answer.status_code, {"id": body["id"], "amount": body["amount"]}
    return answer.status_code, {"message": body["error"]["message"], "approval": body.get("approval", {}).get("id")}


steps.run(refund)
