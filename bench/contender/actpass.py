"""ActPass for a bench of TLS-terminating proxies: the sidecar, and the ledger that all its records and permits go to.

Both processes run on the proxy's core and count. A GET is decided and recorded before it leaves; a POST leaves only
under a permit whose record is on disk. ACTPASS_BENCH names the binary: `cargo build --release -p actpass-bench`.
"""

import os
import pathlib

TITLE = "ActPass sidecar + ledger: every request decided and recorded, every write under a durable permit"
DENIES = "/nope"
BINARY = os.environ.get("ACTPASS_BENCH", pathlib.Path(__file__).resolve().parents[2] / "target/release/actpass-bench")


def start(b):
    declared = ["--port", b.port, "--ca", b.ca]
    handover = pathlib.Path(b.dir, "handover.json")
    b.spawn([BINARY, "ledger", "--dir", b.dir, "--handover", handover, *declared])
    b.spawn([BINARY, "sidecar", "--dir", b.dir, "--handover", handover, "--ca-key", b.ca_key, "--upstream", b.upstream, *declared])
    b.size(BINARY)
