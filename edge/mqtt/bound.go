package mqtt

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// bounded is a connection on which no message is larger than its reader can use: of a larger payload the beginning is passed on,
// one byte more than the limit, so that it is refused for its size and acknowledged; the rest is read and forgotten. The client
// library would take memory for what the broker announces, up to 256 MiB, and again after each crash that this causes.
type bounded struct {
	net.Conn
	in    *bufio.Reader
	limit int    // bytes of a payload, without the one more
	head  []byte // to be handed out first
	pass  int    // then so many bytes of the packet as they come
	drop  int    // then so many that are forgotten
}

const publishPacket = 3

func newBounded(c net.Conn, limit int) net.Conn {
	return &bounded{Conn: c, in: bufio.NewReaderSize(c, 4<<10), limit: limit}
}

// Read implements net.Conn.
func (b *bounded) Read(p []byte) (int, error) {
	for {
		switch {
		case len(b.head) > 0:
			n := copy(p, b.head)
			b.head = b.head[n:]
			return n, nil
		case b.pass > 0:
			n, err := b.in.Read(p[:min(len(p), b.pass)])
			b.pass -= n
			return n, err
		case b.drop > 0:
			n, err := b.in.Discard(min(b.drop, 1<<20))
			b.drop -= n
			if err != nil {
				return 0, err
			}
		default:
			if err := b.next(); err != nil {
				return 0, err
			}
		}
	}
}

// next reads the head of a packet and decides what becomes of it.
func (b *bounded) next() error {
	first, err := b.in.ReadByte()
	if err != nil {
		return err
	}
	size, err := binary.ReadUvarint(oneByOne{b.in, new(int)})
	if err != nil {
		return err
	}
	if first>>4 != publishPacket || size <= uint64(b.limit) {
		b.head, b.pass = appendHead(nil, first, size), int(size)
		return nil
	}
	var two [2]byte
	if _, err := io.ReadFull(b.in, two[:]); err != nil {
		return err
	}
	before := int(binary.BigEndian.Uint16(two[:]))
	if first&6 != 0 { // QoS 1 or 2: a packet id
		before += 2
	}
	payload := int(size) - 2 - before
	if payload < 0 {
		return fmt.Errorf("mqtt: a message of %d bytes with a topic of %d", size, before)
	}
	keep := min(payload, b.limit+1)
	b.head = append(appendHead(nil, first, uint64(2+before+keep)), two[:]...)
	b.pass, b.drop = before+keep, payload-keep
	return nil
}

func appendHead(dst []byte, first byte, size uint64) []byte {
	return binary.AppendUvarint(append(dst, first), size)
}

// oneByOne reads the length of a packet: at most four bytes.
type oneByOne struct {
	in *bufio.Reader
	n  *int
}

func (o oneByOne) ReadByte() (byte, error) {
	if *o.n++; *o.n > 4 {
		return 0, fmt.Errorf("mqtt: the length of a packet takes more than 4 bytes")
	}
	return o.in.ReadByte()
}

// opener opens connections as the library does, but bounded; nil where only the library knows how: through a SOCKS proxy.
func (s *Source) opener() paho.OpenConnectionFunc {
	if s.MaxPayload <= 0 || os.Getenv("all_proxy") != "" || os.Getenv("ALL_PROXY") != "" {
		return nil
	}
	return func(u *url.URL, o paho.ClientOptions) (net.Conn, error) {
		c, err := open(u, &o)
		if err != nil {
			return nil, err
		}
		return newBounded(c, s.MaxPayload), nil
	}
}

func open(u *url.URL, o *paho.ClientOptions) (net.Conn, error) {
	d := &net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second}
	switch u.Scheme {
	case "mqtt", "tcp":
		return d.Dial("tcp", u.Host)
	case "ssl", "tls", "mqtts", "mqtt+ssl", "tcps":
		return tls.DialWithDialer(d, "tcp", u.Host, o.TLSConfig)
	case "ws", "wss":
		plain := *u
		plain.User = nil // the WebSocket library takes none
		return paho.NewWebsocket(plain.String(), o.TLSConfig, o.ConnectTimeout, o.HTTPHeaders, o.WebsocketOptions)
	case "unix":
		return d.Dial("unix", u.Host+u.Path)
	}
	return nil, fmt.Errorf("mqtt: %q is not tcp, ssl, ws, wss or unix", u.Scheme)
}
