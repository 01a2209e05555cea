"""The refunds every Python agent makes. `refund` takes an amount in cents and a note, and gives (status, answer)."""

import json
import os
import sys
import urllib.request

CHARGE = os.environ["CHARGE"]


def say(step, status, answer):
    print(json.dumps({"step": step, "status": status, "answer": answer}), flush=True)
    return answer


def until_somebody_answered():
    sys.stdin.readline()


def execute(approval):
    """Runs an approved request by its id, as a model would that no longer knows its own words."""
    url = f"http://actpass.internal/v1/approvals/{approval}/execute"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as no:
        return no.code, json.load(no)


def run(refund):
    say("small", *refund(12_000, "small"))
    say("huge", *refund(1_500_000, "huge"))
    say("repeat asked", *refund(250_000, "repeat"))
    until_somebody_answered()
    say("repeat", *refund(250_000, "repeat"))
    say("repeat again", *refund(250_000, "repeat"))
    asked = say("execute asked", *refund(250_000, "execute"))
    until_somebody_answered()
    say("execute", *execute(asked["approval"]))
    say("execute again", *execute(asked["approval"]))
