// A load generator that is not what the benchmark measures: each connection sends the same request as soon as its last
// answer is whole, and keeps every latency. It reads just enough HTTP to know where an answer ends.
//
//	load whole   URL KEY BODY CONNECTIONS SECONDS   requests per second, latencies
//	load streams URL KEY BODY CONNECTIONS ROUNDS    time to the first event of as many streams at once
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

type result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Rps      float64 `json:"rps"`
	P50      float64 `json:"p50Ms"`
	P99      float64 `json:"p99Ms"`
	Note     string  `json:"note,omitempty"`
}

type client struct {
	conn net.Conn
	in   *bufio.Reader
	ask  []byte
}

func dial(at *url.URL, ask []byte) (*client, error) {
	conn, err := net.Dial("tcp", at.Host)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), ask: ask}, nil
}

// head reads status line and headers: whether the answer is good, its length, -1 for chunks.
func (c *client) head() (bool, int, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return false, 0, err
	}
	good := bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
	length := -1
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return false, 0, err
		}
		if len(line) <= 2 {
			return good, length, nil
		}
		if len(line) > 16 && strings.EqualFold(string(line[:15]), "content-length:") {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[15:]))); err != nil {
				return false, 0, err
			}
		}
	}
}

// body reads an answer to its end; `first` is called with the first chunk.
func (c *client) body(length int, first func()) error {
	if length >= 0 {
		_, err := c.in.Discard(length)
		return err
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(line)), 16, 32)
		if err != nil {
			return err
		}
		if size > 0 && first != nil {
			first()
			first = nil
		}
		if _, err = c.in.Discard(int(size) + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

func (c *client) whole() (time.Duration, error) {
	began := time.Now()
	if _, err := c.conn.Write(c.ask); err != nil {
		return 0, err
	}
	good, length, err := c.head()
	if err == nil {
		err = c.body(length, nil)
	}
	if err == nil && !good {
		err = errors.New("an answer was not 200")
	}
	return time.Since(began), err
}

func (c *client) stream() (time.Duration, error) {
	began := time.Now()
	var first time.Duration
	if _, err := c.conn.Write(c.ask); err != nil {
		return 0, err
	}
	good, length, err := c.head()
	if err == nil {
		err = c.body(length, func() { first = time.Since(began) })
	}
	if err == nil && (!good || first == 0) {
		err = errors.New("an answer was no stream")
	}
	return first, err
}

func run(at *url.URL, ask []byte, connections int, each func(*client, func(time.Duration, error))) result {
	var lock sync.Mutex
	var all []time.Duration
	var found result
	var group sync.WaitGroup
	began := time.Now()
	for range connections {
		group.Add(1)
		go func() {
			defer group.Done()
			mine := make([]time.Duration, 0, 1<<16)
			failed, note := 0, ""
			c, err := dial(at, ask)
			if err == nil {
				each(c, func(took time.Duration, err error) {
					if err != nil {
						failed, note = failed+1, err.Error()
					} else {
						mine = append(mine, took)
					}
				})
				c.conn.Close()
			} else {
				failed, note = 1, err.Error()
			}
			lock.Lock()
			defer lock.Unlock()
			all = append(all, mine...)
			found.Errors += failed
			if note != "" {
				found.Note = note
			}
		}()
	}
	group.Wait()
	took := time.Since(began).Seconds()
	slices.Sort(all)
	found.Requests = len(all)
	found.Rps = float64(len(all)) / took
	if len(all) > 0 {
		found.P50 = float64(all[len(all)/2]) / 1e6
		found.P99 = float64(all[len(all)*99/100]) / 1e6
	}
	return found
}

func main() {
	if len(os.Args) != 7 {
		fmt.Fprintln(os.Stderr, "usage: load whole|streams URL KEY BODY CONNECTIONS SECONDS|ROUNDS")
		os.Exit(2)
	}
	at, err := url.Parse(os.Args[2])
	connections, err2 := strconv.Atoi(os.Args[5])
	amount, err3 := strconv.ParseFloat(os.Args[6], 64)
	if err = errors.Join(err, err2, err3); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	body := os.Args[4]
	ask := []byte(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", at.Path, at.Host, os.Args[3], len(body), body))
	var found result
	if os.Args[1] == "streams" {
		found = run(at, ask, connections, func(c *client, tell func(time.Duration, error)) {
			for range int(amount) {
				took, err := c.stream()
				tell(took, err)
				if err != nil {
					return
				}
			}
		})
	} else {
		end := time.Now().Add(time.Duration(amount * float64(time.Second)))
		found = run(at, ask, connections, func(c *client, tell func(time.Duration, error)) {
			for time.Now().Before(end) {
				took, err := c.whole()
				tell(took, err)
				if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
					return
				}
			}
		})
	}
	_ = json.NewEncoder(os.Stdout).Encode(found)
}
