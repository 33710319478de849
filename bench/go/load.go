package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// As in work/load.mjs: new names begin anew after so many, and a measurement goes on until it has seen enough cycles, but
// not longer than so many times what was asked for.
const (
	names   = 10_000
	enough  = 20
	longest = 6
	look    = 20 * time.Millisecond
)

type outcome struct {
	Cycles    int      `json:"cycles"`
	Seconds   float64  `json:"seconds"`
	P50       float64  `json:"p50"`
	P99       float64  `json:"p99"`
	ClientCpu float64  `json:"clientCpu"`
	ServerCpu *float64 `json:"serverCpu"`
	Least     int      `json:"least"`
	Most      int      `json:"most"`
	Drained   bool     `json:"drained"`
}

// load runs loops that lock and unlock. Callers of one name need a session each: a session has one key per name, so two
// goroutines that share one would both hold the lock.
func load(t task) (*outcome, error) {
	clients := make([]*clientv3.Client, t.Sessions)
	for i := range clients {
		client, err := connect(t)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		clients[i] = client
	}
	count := t.Sessions
	if t.Names == "one" {
		count = t.Callers
	}
	sessions, err := openSessions(clients, count)
	if err != nil {
		return nil, err
	}
	defer closeSessions(sessions)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var counting atomic.Bool
	var cycles atomic.Int64
	latencies := make([][]float64, t.Callers)
	failures := make(chan error, t.Callers)
	var loops sync.WaitGroup
	for caller := range t.Callers {
		loops.Go(func() {
			session := sessions[caller%len(sessions)]
			for cycle := 0; ctx.Err() == nil; cycle++ {
				started := time.Now()
				if err := lockAndUnlock(ctx, session, t.Namespace+nameOf(t.Names, caller, cycle)); err != nil {
					if !errors.Is(err, context.Canceled) {
						failures <- err
					}
					return
				}
				cycles.Add(1)
				if counting.Load() {
					latencies[caller] = append(latencies[caller], millis(time.Since(started)))
				}
			}
		})
	}

	if err := pass(t.Warm, 1, &cycles, failures); err != nil {
		return nil, err
	}
	started, client, server := time.Now(), ownCpu(), cpuOf(t.ServerPid)
	counting.Store(true)
	if err := pass(t.Ms, enough, &cycles, failures); err != nil {
		return nil, err
	}
	counting.Store(false)
	result := &outcome{Seconds: time.Since(started).Seconds(), ClientCpu: ownCpu() - client, Drained: true}
	if now := cpuOf(t.ServerPid); now >= 0 && server >= 0 {
		used := now - server
		result.ServerCpu = &used
	}
	stop()
	loops.Wait()
	result.count(latencies)
	return result, nil
}

func (o *outcome) count(latencies [][]float64) {
	var all []float64
	o.Least = len(latencies[0])
	for _, own := range latencies {
		all = append(all, own...)
		o.Least = min(o.Least, len(own))
		o.Most = max(o.Most, len(own))
	}
	o.Cycles = len(all)
	o.P50 = quantile(all, 0.5)
	o.P99 = quantile(all, 0.99)
}

func lockAndUnlock(ctx context.Context, session *concurrency.Session, name string) error {
	mutex := concurrency.NewMutex(session, name)
	if err := mutex.Lock(ctx); err != nil {
		return err
	}
	// Not with ctx: the end of the measurement must not leave a lock behind.
	return mutex.Unlock(context.Background())
}

func nameOf(kind string, caller, cycle int) string {
	switch kind {
	case "one":
		return "hot"
	case "own":
		return fmt.Sprintf("name-%d", caller)
	default:
		return fmt.Sprintf("name-%d-%d", caller, cycle%names)
	}
}

func pass(ms int, count int64, cycles *atomic.Int64, failures <-chan error) error {
	least := time.Duration(ms) * time.Millisecond
	start, end := time.Now(), cycles.Load()+count
	for wait := least; ; wait = look {
		select {
		case err := <-failures:
			return err
		case <-time.After(wait):
		}
		if cycles.Load() >= end || time.Since(start) >= least*longest {
			return nil
		}
	}
}

// openSessions deals them out over the clients.
func openSessions(clients []*clientv3.Client, count int) ([]*concurrency.Session, error) {
	sessions := make([]*concurrency.Session, count)
	failures := make([]error, count)
	each(count, func(i int) { sessions[i], failures[i] = newSession(clients[i%len(clients)]) })
	return sessions, errors.Join(failures...)
}

func closeSessions(sessions []*concurrency.Session) {
	each(len(sessions), func(i int) { sessions[i].Close() })
}

func each(count int, do func(i int)) {
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() { do(i) })
	}
	group.Wait()
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ownCpu is the seconds of CPU that this process has used.
func ownCpu() float64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

// cpuOf is the same for another process, in clock ticks of 10 ms; -1 where it cannot be told.
func cpuOf(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return -1
	}
	// The second field is the program's name in parentheses, which may contain spaces.
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}
