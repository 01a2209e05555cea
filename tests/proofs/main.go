// Command proofs checks a log that is published as C2SP tlog-tiles, by a URL or in a directory: its signed checkpoint, every tile,
// every leaf, consistency between many sizes, older checkpoints, and tlog-proofs. It knows nothing of ActPass but that a proof's
// extra data are the leaf. What it found is one JSON object; the exit code is 0 where everything holds, else 1.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Found is what is said in the end.
type Found struct {
	Error       string `json:"error,omitempty"`
	Origin      string `json:"origin,omitempty"`
	Size        int64  `json:"size"`
	Tiles       int    `json:"tiles"`
	Bundles     int    `json:"bundles"`
	Leaves      int64  `json:"leaves"`
	Consistent  int    `json:"consistent"`
	Checkpoints int    `json:"checkpoints"`
	Proofs      int    `json:"proofs"`
}

type list []string

func (l *list) String() string         { return fmt.Sprint(*l) }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	var from source
	var older, proofs list
	flag.StringVar(&from.base, "log", "", "prefix of the log: a URL, or a directory that was made by -save")
	flag.StringVar(&from.token, "token", "", "bearer token for the URL")
	flag.StringVar(&from.ca, "ca", "", "file with the certificate that the server is known by, PEM")
	flag.StringVar(&from.name, "name", "", "name in that certificate")
	flag.StringVar(&from.save, "save", "", "directory to keep what is fetched in")
	key := flag.String("key", "", "file with the log's verifier key")
	every := flag.Int64("proof-every", 0, "ask for the proof of each leaf whose index is a multiple of this, and of those at the edges of tiles")
	flag.Var(&older, "older", "file with an older checkpoint, which the log has to extend; may be repeated")
	flag.Var(&proofs, "proof", "file with a tlog-proof; may be repeated. Without -log nothing else is checked")
	flag.Parse()
	var found Found
	err := run(&from, *key, *every, older, proofs, &found)
	if err != nil {
		found.Error = err.Error()
	}
	said, _ := json.Marshal(found)
	fmt.Println(string(said))
	if err != nil {
		os.Exit(1)
	}
}

func run(from *source, key string, every int64, older, proofs list, found *Found) error {
	text, err := os.ReadFile(key)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(string(trimmed(text)))
	if err != nil {
		return err
	}
	for _, file := range proofs {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := checkProof(text, verifier); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		found.Proofs++
	}
	if from.base == "" {
		return nil
	}
	if err := from.open(); err != nil {
		return err
	}
	text, err = from.read("checkpoint")
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(text, verifier)
	if err != nil {
		return err
	}
	found.Origin, found.Size = verifier.Name(), tree.N
	return checkLog(from, tree, verifier, every, older, found)
}

func checkLog(from *source, tree tlog.Tree, verifier note.Verifier, every int64, older list, found *Found) error {
	// Every tile is held against the signed root before anything is taken from it.
	tiles := &tiles{from: from}
	hashes := &kept{from: tlog.TileHashReader(tree, tiles), known: map[int64]tlog.Hash{}}
	if err := hashes.learn(tree.N); err != nil {
		return err
	}
	found.Tiles = len(tiles.known)
	if root, err := tlog.TreeHash(tree.N, hashes); err != nil || root != tree.Hash {
		return errors.Join(err, fmt.Errorf("the tiles have root %v, the checkpoint %v", root, tree.Hash))
	}
	leaves, err := checkLeaves(from, tree, hashes, found)
	if err != nil {
		return err
	}
	if err := checkConsistency(tree, hashes, older, verifier, found); err != nil {
		return err
	}
	return askForProofs(from, verifier, leaves, every, found)
}
