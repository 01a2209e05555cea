package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// bytesMax is more than the largest bundle: 256 leaves of 64 KiB.
const bytesMax = 17 << 20

// source is where a log is read.
type source struct {
	base, token, ca, name, save string
	client                      *http.Client
}

func (s *source) open() error {
	if !strings.HasPrefix(s.base, "https://") {
		return nil
	}
	config := &tls.Config{ServerName: s.name}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no certificate in %s", s.ca)
		}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	s.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return nil
}

// read gives what is at a path below the prefix.
func (s *source) read(path string) ([]byte, error) {
	if s.client == nil {
		return os.ReadFile(filepath.Join(s.base, filepath.FromSlash(path)))
	}
	request, err := http.NewRequest("GET", s.base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, bytesMax))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	if err := headers(path, response.Header); err != nil {
		return nil, err
	}
	return body, s.keep(path, body)
}

// headers are those that tlog-tiles asks for.
func headers(path string, header http.Header) error {
	kind, cache := header.Get("Content-Type"), header.Get("Cache-Control")
	want, forever := "text/plain; charset=utf-8", false
	if strings.HasPrefix(path, "tile/") {
		want, forever = "application/octet-stream", true
	}
	if kind != want || strings.Contains(cache, "immutable") != forever {
		return fmt.Errorf("%s: content-type %q, cache-control %q", path, kind, cache)
	}
	return nil
}

func (s *source) keep(path string, body []byte) error {
	if s.save == "" {
		return nil
	}
	file := filepath.Join(s.save, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// tiles reads tiles for tlog, each once.
type tiles struct {
	from  *source
	known map[tlog.Tile][]byte
}

func (t *tiles) Height() int { return 8 }

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(wanted))
	for i, tile := range wanted {
		data, ok := t.known[tile]
		if !ok {
			var err error
			if data, err = t.from.read(path(tile)); err != nil {
				return nil, err
			}
		}
		all[i] = data
	}
	return all, nil
}

// SaveTiles is called with what was found to be right.
func (t *tiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	if t.known == nil {
		t.known = map[tlog.Tile][]byte{}
	}
	for i, tile := range tiles {
		t.known[tile] = data[i]
	}
}

// path is that of C2SP, which says no height and `entries` where Go says `data`.
func path(tile tlog.Tile) string {
	rest := strings.TrimPrefix(tile.Path(), "tile/8/")
	if entries, ok := strings.CutPrefix(rest, "data/"); ok {
		rest = "entries/" + entries
	}
	return "tile/" + rest
}

func trimmed(text []byte) []byte { return bytes.TrimSpace(text) }
