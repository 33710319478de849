package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sys/unix"
)

const sample = 10 * time.Millisecond

type holder struct {
	key     string
	session *concurrency.Session
	times   []float64
	ended   *float64
}

type belief struct {
	Key   string   `json:"key"`
	Last  float64  `json:"last"`
	Ended *float64 `json:"ended"`
	Wrong int      `json:"wrong"`
}

// hold is safety/hold.mjs in Go: it holds mutexes, and asks every 10 ms whether their sessions are done. It prints a line
// when it is ready, and then one for each line that it reads.
func hold(t task) error {
	var mutex sync.Mutex
	var holders []*holder
	output := json.NewEncoder(os.Stdout)
	if err := output.Encode("ready"); err != nil {
		return err
	}
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		var line []json.RawMessage
		if err := json.Unmarshal(input.Bytes(), &line); err != nil {
			return err
		}
		var answer any
		var err error
		if string(line[0]) == `"take"` {
			holders, answer, err = takeAll(t, line[1])
			go func() {
				for range time.Tick(sample) {
					mutex.Lock()
					for _, h := range holders {
						h.look()
					}
					mutex.Unlock()
				}
			}()
		} else {
			mutex.Lock()
			answer, err = report(holders, line[1])
			mutex.Unlock()
		}
		if err != nil {
			return err
		}
		if err := output.Encode(answer); err != nil {
			return err
		}
	}
	return input.Err()
}

func takeAll(t task, argument []byte) (holders []*holder, keys []string, err error) {
	var at float64
	if err := json.Unmarshal(argument, &at); err != nil {
		return nil, nil, err
	}
	for i := range t.Count {
		wait := at + t.Spread*float64(i)/float64(t.Count) - now()
		time.Sleep(time.Duration(wait * float64(time.Millisecond)))
		h, err := take(t, i)
		if err != nil {
			return nil, nil, err
		}
		holders, keys = append(holders, h), append(keys, h.key)
	}
	return holders, keys, nil
}

func report(holders []*holder, argument []byte) ([]belief, error) {
	gone := map[string]float64{}
	if err := json.Unmarshal(argument, &gone); err != nil {
		return nil, err
	}
	beliefs := []belief{}
	for _, h := range holders {
		beliefs = append(beliefs, h.report(gone))
	}
	return beliefs, nil
}

func take(t task, index int) (*holder, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: t.Hosts})
	if err != nil {
		return nil, err
	}
	session, err := concurrency.NewSession(client, concurrency.WithTTL(t.Ttl/1000))
	if err != nil {
		return nil, err
	}
	mutex := concurrency.NewMutex(session, fmt.Sprintf("%s%d", t.Namespace, index))
	if err := mutex.Lock(context.Background()); err != nil {
		return nil, err
	}
	return &holder{key: mutex.Key(), session: session}, nil
}

func (h *holder) look() {
	if h.ended != nil {
		return
	}
	select {
	case <-h.session.Done():
		at := now()
		h.ended = &at
	default:
		h.times = append(h.times, now())
	}
}

func (h *holder) report(gone map[string]float64) belief {
	b := belief{Key: h.key, Ended: h.ended}
	if len(h.times) > 0 {
		b.Last = h.times[len(h.times)-1]
	}
	if at, is := gone[h.key]; is {
		for _, time := range h.times {
			if time > at {
				b.Wrong++
			}
		}
	}
	return b
}

// now is what process.hrtime reads in Node: the clock that all processes of a machine share, in milliseconds.
func now() float64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return float64(t.Nano()) / 1e6
}
