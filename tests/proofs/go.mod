// Checks what the ledger publishes of a log, with the parts of Go's own checksum database: a reading of C2SP that is not ours.
module actpass.org/tests/proofs

go 1.26.0

require golang.org/x/mod v0.41.0
