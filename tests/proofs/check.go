package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// openCheckpoint gives the tree of a checkpoint that the log's key signed: C2SP signed-note and tlog-checkpoint.
func openCheckpoint(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("not a checkpoint of %s: %q", verifier.Name(), opened.Text)
	}
	if tree.N, err = decimal(lines[1]); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func decimal(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 || strconv.FormatInt(number, 10) != text {
		return 0, fmt.Errorf("%q is not a number in its one spelling", text)
	}
	return number, nil
}

// kept keeps hashes that were found to be in the tree.
type kept struct {
	from  tlog.HashReader
	known map[int64]tlog.Hash
}

func (k *kept) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hash, ok := k.known[index]
		if !ok {
			return nil, fmt.Errorf("hash %d is not in the tree", index)
		}
		hashes[i] = hash
	}
	return hashes, nil
}

// learn reads every hash of a tree, tile by tile.
func (k *kept) learn(size int64) error {
	for level := 0; size>>level > 0; level++ {
		for start := int64(0); start < size>>level; start += 1 << 16 {
			var indexes []int64
			for n := start; n < min(size>>level, start+1<<16); n++ {
				indexes = append(indexes, tlog.StoredHashIndex(level, n))
			}
			hashes, err := k.from.ReadHashes(indexes)
			if err != nil {
				return err
			}
			for i, index := range indexes {
				k.known[index] = hashes[i]
			}
		}
	}
	return nil
}

// checkLeaves holds every leaf against the tree, each by an inclusion proof of its own.
func checkLeaves(from *source, tree tlog.Tree, hashes *kept, found *Found) ([][]byte, error) {
	var leaves [][]byte
	for start := int64(0); start < tree.N; start += 256 {
		width := int(min(256, tree.N-start))
		bundle, err := from.read(path(tlog.Tile{H: 8, L: -1, N: start / 256, W: width}))
		if err != nil {
			return nil, err
		}
		entries, err := split(bundle)
		if err != nil || len(entries) != width {
			return nil, errors.Join(err, fmt.Errorf("bundle %d has %d leaves, not %d", start/256, len(entries), width))
		}
		leaves = append(leaves, entries...)
		found.Bundles++
	}
	for index, leaf := range leaves {
		n := int64(index)
		proof, err := tlog.ProveRecord(tree.N, n, hashes)
		if err != nil {
			return nil, err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, tlog.RecordHash(leaf)); err != nil {
			return nil, fmt.Errorf("leaf %d: %w", n, err)
		}
		found.Leaves++
	}
	return leaves, nil
}

// split gives the leaves of a bundle.
func split(bundle []byte) ([][]byte, error) {
	var leaves [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, errors.New("the bundle ends in a length")
		}
		length := int(binary.BigEndian.Uint16(bundle))
		if bundle = bundle[2:]; len(bundle) < length {
			return nil, errors.New("the bundle ends in a leaf")
		}
		leaves = append(leaves, bundle[:length])
		bundle = bundle[length:]
	}
	return leaves, nil
}

// checkConsistency proves each of many sizes an extension of each smaller one, and the tree one of each older checkpoint.
func checkConsistency(tree tlog.Tree, hashes *kept, older list, verifier note.Verifier, found *Found) error {
	var trees []tlog.Tree
	for _, size := range sizes(tree.N) {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return err
		}
		trees = append(trees, tlog.Tree{N: size, Hash: root})
	}
	for _, file := range older {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		old, err := openCheckpoint(text, verifier)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if old.N < 1 || old.N > tree.N {
			return fmt.Errorf("%s: of %d leaves, and the log has %d", file, old.N, tree.N)
		}
		trees = append(trees, old)
		found.Checkpoints++
	}
	for _, old := range trees {
		for _, newer := range trees {
			if old.N > newer.N {
				continue
			}
			proof, err := tlog.ProveTree(newer.N, old.N, hashes)
			if err != nil {
				return err
			}
			if err := tlog.CheckTree(proof, newer.N, newer.Hash, old.N, old.Hash); err != nil {
				return fmt.Errorf("%d leaves do not extend %d: %w", newer.N, old.N, err)
			}
			found.Consistent++
		}
	}
	return nil
}

// sizes are those about which trees change their shape, up to that of the log.
func sizes(size int64) []int64 {
	all := []int64{size}
	for _, edge := range []int64{1, 2, 4, 128, 256, 512, 768, 4096, 65536} {
		for _, n := range []int64{edge - 1, edge, edge + 1} {
			if n > 0 && n < size {
				all = append(all, n)
			}
		}
	}
	return append(all, max(1, size/3), max(1, size/2), max(1, size-1))
}

// checkProof gives the leaf that a tlog-proof shows to be in the log, and its index.
func checkProof(text []byte, verifier note.Verifier) (proven, error) {
	var none proven
	head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
	if !ok {
		return none, errors.New("no checkpoint behind an empty line")
	}
	lines := strings.Split(string(head), "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return none, fmt.Errorf("not a tlog-proof: %q", lines[0])
	}
	extra, ok := strings.CutPrefix(lines[1], "extra ")
	if !ok {
		return none, errors.New("no extra data")
	}
	leaf, err := base64.StdEncoding.Strict().DecodeString(extra)
	if err != nil {
		return none, err
	}
	number, ok := strings.CutPrefix(lines[2], "index ")
	if !ok {
		return none, errors.New("no index")
	}
	index, err := decimal(number)
	if err != nil {
		return none, err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return none, err
		}
		path = append(path, hash)
	}
	tree, err := openCheckpoint(checkpoint, verifier)
	if err != nil {
		return none, err
	}
	if index >= tree.N {
		return none, fmt.Errorf("leaf %d of %d", index, tree.N)
	}
	return proven{index, leaf}, tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(leaf))
}

type proven struct {
	index int64
	leaf  []byte
}

// askForProofs checks the log's own proofs of many leaves.
func askForProofs(from *source, verifier note.Verifier, leaves [][]byte, every int64, found *Found) error {
	for index, leaf := range leaves {
		n := int64(index)
		edge := n%256 == 0 || n%256 == 255 || index == len(leaves)-1
		if every == 0 || (n%every != 0 && !edge) {
			continue
		}
		text, err := from.read(fmt.Sprintf("proof/%d", n))
		if err != nil {
			return err
		}
		shown, err := checkProof(text, verifier)
		if err != nil {
			return fmt.Errorf("proof of leaf %d: %w", n, err)
		}
		if shown.index != n || !bytes.Equal(shown.leaf, leaf) {
			return fmt.Errorf("the proof of leaf %d is of another", n)
		}
		found.Proofs++
	}
	return nil
}
