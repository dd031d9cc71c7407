package core

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"signalbox/raftstore"
)

// asideName begins the folder that a node's damaged data is moved to; lockName stays where it is.
const (
	asideName   = "damaged-"
	lockName    = "owner.lock"
	askRejoin   = 3 * time.Second
	rejoinBytes = 512 // of another node's answer, for the error
)

// wayBack says what to do when a node cannot use what is on its disk.
func (n *Node) wayBack(err error) error {
	if err == nil || !errors.Is(err, raftstore.ErrDamaged) && !errors.Is(err, raftstore.ErrCorrupt) {
		return err
	}
	if len(n.peers) == 1 {
		return fmt.Errorf("%w\nThis is the only node: restore %s from a backup", err, n.cfg.DataDir)
	}
	return fmt.Errorf("%w\nThe other nodes have everything and go on. While they run, set this node's data aside and start it again, with the same configuration:\n"+
		"  signalbox-core rejoin --node-id %s --data-dir %s --listen %s --peers %s%s\n  signalbox-core …",
		err, n.cfg.NodeID, n.cfg.DataDir, n.cfg.Listen, strings.Join(n.cfg.Peers, ","), n.cfg.tlsFlags())
}

func (c *Config) tlsFlags() string {
	if c.TLSCert == "" {
		return ""
	}
	return fmt.Sprintf(" --tls-cert %s --tls-key %s --tls-ca %s", c.TLSCert, c.TLSKey, c.TLSCA)
}

// Rejoin moves the data of a node that does not run into a folder beside it, which it returns. A node without its log must
// not vote while another one is away, or what only those two had acknowledged would be lost: all others have to be ready.
func Rejoin(ctx context.Context, cfg Config) (aside string, err error) {
	n, err := New(cfg, Options{})
	if err != nil {
		return "", err
	}
	if len(n.peers) == 1 {
		return "", fmt.Errorf("core: %s is the only node: there is nobody to take the data from", cfg.NodeID)
	}
	for _, p := range n.peers {
		if p.ID == cfg.NodeID {
			continue
		}
		if err := n.askReady(ctx, p); err != nil {
			return "", fmt.Errorf("core: nothing was changed: every other node has to be ready, or what was acknowledged could be lost: %s (%s): %w", p.ID, p.Addr, err)
		}
	}
	return setAside(cfg.DataDir, time.Now())
}

func (n *Node) askReady(ctx context.Context, p raftstore.Peer) error {
	ctx, cancel := context.WithTimeout(ctx, askRejoin)
	defer cancel()
	scheme, tr := "http", &http.Transport{DisableKeepAlives: true}
	if n.tls.Client != nil {
		scheme, tr.TLSClientConfig = "https", n.tls.Client.Clone()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+p.Addr+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text := make([]byte, rejoinBytes)
		k, _ := res.Body.Read(text)
		return fmt.Errorf("it is not ready: %s: %s", res.Status, strings.TrimSpace(string(text[:k])))
	}
	return nil
}

func setAside(dir string, now time.Time) (aside string, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("core: data_dir: %w", err)
	}
	aside = filepath.Join(dir, asideName+now.UTC().Format("20060102T150405Z"))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return "", fmt.Errorf("core: data_dir: %w", err)
	}
	for _, d := range names {
		if d.Name() == lockName || strings.HasPrefix(d.Name(), asideName) {
			continue
		}
		if err := os.Rename(filepath.Join(dir, d.Name()), filepath.Join(aside, d.Name())); err != nil {
			return "", fmt.Errorf("core: data_dir: %w", err)
		}
	}
	return aside, nil
}
