// Modules of which only files are used: what an API server and the Prometheus operator take.
//
// Downloaded by name and version, so nothing is required here; go.sum has their sums.
module actpass.org/tests/cluster/tools/schemas

go 1.26.0
